package latents

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"yohaku/internal/atomicfile"
)

// orderFile lists the keys of a data set's shards, one a line, in the order of the pairs.
const orderFile = "order.txt"

// maxOrderBytes bounds the list: a million shards.
const maxOrderBytes = 65 << 20

// SetOrder writes down which shards, in which order, are the data set.
func (s *Store) SetOrder(keys []string) error {
	return atomicfile.Write(filepath.Join(s.dir, orderFile), []byte(strings.Join(keys, "\n")+"\n"))
}

// Order returns the keys that SetOrder wrote down, or ErrNotFound.
func (s *Store) Order() ([]string, error) {
	path := filepath.Join(s.dir, orderFile)
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s is missing", ErrNotFound, path)
	}
	if err != nil {
		return nil, fmt.Errorf("read the order of latents: %w", err)
	}
	if info.Size() > maxOrderBytes {
		return nil, fmt.Errorf("read the order of latents: %s has %d bytes, at most %d", path, info.Size(), maxOrderBytes)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the order of latents: %w", err)
	}
	keys := strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
	for i, key := range keys {
		if !keyForm.MatchString(key) {
			return nil, fmt.Errorf("%s line %d: key %q: 64 lower-case hexadecimal digits are needed", path, i+1, key)
		}
	}
	return keys, nil
}
