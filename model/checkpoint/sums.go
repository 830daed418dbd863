package checkpoint

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
)

// SumsFile lists the SHA-256 of a checkpoint's files, as sha256sum writes and checks it.
const SumsFile = "SHA256SUMS"

// encodeSums writes digests by file name, sorted.
func encodeSums(sums map[string]string) []byte {
	var b bytes.Buffer
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		fmt.Fprintf(&b, "%s  %s\n", sums[name], name)
	}
	return b.Bytes()
}

// ErrDamaged says that a file of a checkpoint is not what its SHA256SUMS says: use another one.
var ErrDamaged = errors.New("checkpoint is damaged")

// VerifySums reads every file that the folder's SHA256SUMS names and compares. It returns
// ErrDamaged, with the file, at the first that is missing or differs.
func (f *Folder) VerifySums() error {
	data, err := f.ReadFile(SumsFile)
	if err != nil {
		return err
	}
	sums, err := parseSums(data)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrDamaged, f.Path(SumsFile), err)
	}
	for _, name := range slices.Sorted(maps.Keys(sums)) {
		got, err := f.sum(name)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		if got != sums[name] {
			return fmt.Errorf("%w: %s has SHA-256 %s, %s says %s; use an earlier checkpoint", ErrDamaged, f.Path(name), got, SumsFile, sums[name])
		}
	}
	return nil
}

// parseSums decodes a SHA256SUMS file. Names must stay within the folder.
func parseSums(data []byte) (map[string]string, error) {
	sums := map[string]string{}
	for i, line := range strings.Split(strings.TrimSuffix(string(data), "\n"), "\n") {
		sum, name, ok := strings.Cut(line, "  ")
		if _, err := hex.DecodeString(sum); err != nil || !ok || len(sum) != 2*sha256.Size || !fs.ValidPath(name) {
			return nil, fmt.Errorf("line %d is %.80q, it must be a SHA-256, two spaces and a path within the folder", i+1, line)
		}
		sums[name] = strings.ToLower(sum)
	}
	return sums, nil
}

func (f *Folder) sum(name string) (string, error) {
	file, err := f.fsys.Open(name)
	if err != nil {
		return "", fmt.Errorf("open %s: %w", f.Path(name), err)
	}
	defer func() { _ = file.Close() }() // Only read from.
	h := sha256.New()
	if _, err := io.Copy(h, file); err != nil {
		return "", fmt.Errorf("read %s: %w", f.Path(name), err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
