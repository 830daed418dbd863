package latents

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"yohaku/internal/atomicfile"
)

// Store is a folder of shards, KEY.safetensors. Several processes may share it: files appear whole
// and are never changed.
type Store struct{ dir string }

// ErrNotFound says that a store has no shard of a key: encode the pairs.
var ErrNotFound = errors.New("latents are not in the store")

// Open makes the folder when it is not there.
func Open(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("open latents store: %w", err)
	}
	return &Store{dir: dir}, nil
}

// keyForm is the form of a key; nothing else may become part of a path.
var keyForm = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Path returns where the shard of key is or would be.
func (s *Store) Path(key string) (string, error) {
	if !keyForm.MatchString(key) {
		return "", fmt.Errorf("latents key %q: 64 lower-case hexadecimal digits are needed", key)
	}
	return filepath.Join(s.dir, key+".safetensors"), nil
}

// Has says whether the shard of key is there.
func (s *Store) Has(key string) bool {
	path, err := s.Path(key)
	if err != nil {
		return false
	}
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

// Get opens the shard of key. It returns ErrNotFound when there is none, and another error when
// the file is damaged or another shard's; Remove it then, and encode again.
func (s *Store) Get(key string) (*Reader, error) {
	path, err := s.Path(key)
	if err != nil {
		return nil, err
	}
	r, err := OpenShard(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %s", ErrNotFound, key)
	}
	if err != nil {
		return nil, err
	}
	if r.Key() != key {
		_ = r.Close() // The first error is the one to report.
		return nil, fmt.Errorf("open latents %s: the shard inside has the key %s: remove the file", path, r.Key())
	}
	return r, nil
}

// Put writes a shard under its key.
func (s *Store) Put(sh *Shard) error {
	path, err := s.Path(sh.Key)
	if err != nil {
		return err
	}
	return atomicfile.WriteFunc(path, sh.Write)
}

// Remove deletes the shard of key, when it is there.
func (s *Store) Remove(key string) error {
	path, err := s.Path(key)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove latents: %w", err)
	}
	return nil
}
