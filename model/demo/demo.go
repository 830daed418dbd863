package demo

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

//go:embed all:base
var files embed.FS

// Base is the model folder, rooted at model_index.json.
func Base() fs.FS {
	base, err := fs.Sub(files, "base")
	if err != nil {
		panic(fmt.Sprintf("unreachable: embedded base: %v", err))
	}
	return base
}

// Extract writes the model folder to dir, which must not exist, or be a folder that an earlier Extract
// made. It writes to a new folder beside dir and renames it, so dir is never half-written; two
// processes may extract to one dir at a time.
func Extract(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, "model_index.json")); err == nil {
		return nil
	}
	parent := filepath.Dir(dir)
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return fmt.Errorf("extract base model: %w", err)
	}
	temporary, err := os.MkdirTemp(parent, ".base-*")
	if err != nil {
		return fmt.Errorf("extract base model: %w", err)
	}
	defer os.RemoveAll(temporary) // Nothing is left to remove after a rename.
	if err := copyTo(filepath.Join(temporary, "base")); err != nil {
		return fmt.Errorf("extract base model: %w", err)
	}
	err = os.Rename(filepath.Join(temporary, "base"), dir)
	if err == nil {
		return nil
	}
	if _, statErr := os.Stat(filepath.Join(dir, "model_index.json")); statErr == nil {
		return nil // Another process was first.
	}
	return fmt.Errorf("extract base model: %w; name a folder that is new or empty", err)
}

// copyTo writes every embedded file under dir and syncs it.
func copyTo(dir string) error {
	base := Base()
	return fs.WalkDir(base, ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		path := filepath.Join(dir, filepath.FromSlash(name))
		if entry.IsDir() {
			return os.MkdirAll(path, 0o755)
		}
		data, err := fs.ReadFile(base, name)
		if err != nil {
			return err
		}
		return writeSynced(path, data)
	})
}

func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	if _, err := f.Write(data); err != nil {
		f.Close()
		return err
	}
	if err := f.Sync(); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
