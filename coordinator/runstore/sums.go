package runstore

import (
	"bufio"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// SumsName is the file that names all other files of a checkpoint with their digests, as sha256sum does. It is written last: a
// folder without it is unfinished.
const SumsName = "SHA256SUMS"

// Sums are a checkpoint's files: SHA-256, hex, by slash path.
type Sums map[string]string

// ReadSums reads a SHA256SUMS. A path that leads out of the checkpoint is an error.
func ReadSums(r io.Reader) (Sums, error) {
	sums := Sums{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		digest, path, ok := strings.Cut(lines.Text(), "  ")
		if !ok || len(digest) != 64 || !filepath.IsLocal(filepath.FromSlash(path)) {
			return nil, fmt.Errorf("line %q is not 'sha256  path'", lines.Text())
		}
		sums[path] = digest
	}
	return sums, lines.Err()
}

// Paths are the files, sorted.
func (s Sums) Paths() []string { return slices.Sorted(maps.Keys(s)) }

// text is the file that holds the sums.
func (s Sums) text() []byte {
	var b strings.Builder
	for _, path := range s.Paths() {
		fmt.Fprintf(&b, "%s  %s\n", s[path], path)
	}
	return []byte(b.String())
}
