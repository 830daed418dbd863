package checkpoint

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"yohaku/internal/safetensors"
)

// maxTextBytes bounds JSON and text files: the largest tokenizers have a few megabytes.
const maxTextBytes = 64 << 20

// Folder is a folder of model files, on disk or within a file system such as an embed.FS.
type Folder struct {
	fsys fs.FS
	name string // What messages call it: the path on disk, or within fsys.
	disk string // "" when it is not on disk.
}

// OpenFolder opens the folder at path. It returns an error when there is none.
func OpenFolder(path string) (*Folder, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("open model folder: %w", err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("open model folder: %s is a file, it must be a folder", path)
	}
	return &Folder{fsys: os.DirFS(path), name: path, disk: path}, nil
}

// FolderFS opens the folder dir within fsys; "." is all of it.
func FolderFS(fsys fs.FS, dir string) (*Folder, error) {
	info, err := fs.Stat(fsys, dir)
	if err != nil {
		return nil, fmt.Errorf("open model folder: %w", err)
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("open model folder: %s is a file, it must be a folder", dir)
	}
	sub, err := fs.Sub(fsys, dir)
	if err != nil {
		return nil, fmt.Errorf("open model folder: %w", err)
	}
	return &Folder{fsys: sub, name: dir}, nil
}

// FS gives the folder as a file system.
func (f *Folder) FS() fs.FS { return f.fsys }

// Path names a file of the folder, for messages and, when OnDisk, for opening.
func (f *Folder) Path(elem ...string) string {
	if f.disk == "" {
		return path.Join(append([]string{f.name}, elem...)...)
	}
	return filepath.Join(append([]string{f.disk}, elem...)...)
}

// OnDisk tells whether Path is a path of the operating system.
func (f *Folder) OnDisk() bool { return f.disk != "" }

// Sub opens a folder of the folder.
func (f *Folder) Sub(name string) (*Folder, error) {
	if f.disk != "" {
		return OpenFolder(f.Path(name))
	}
	sub, err := FolderFS(f.fsys, name)
	if err != nil {
		return nil, err
	}
	sub.name = f.Path(name)
	return sub, nil
}

// Has tells whether the folder holds a file or folder of that name.
func (f *Folder) Has(name string) bool {
	_, err := fs.Stat(f.fsys, name)
	return err == nil
}

// ReadFile returns a text file of the folder, refusing one too large to be what it should be.
func (f *Folder) ReadFile(name string) ([]byte, error) {
	file, err := f.fsys.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("open %s: %w", f.Path(name), fs.ErrNotExist)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", f.Path(name), err)
	}
	defer func() { _ = file.Close() }() // Only read from.
	data, err := io.ReadAll(io.LimitReader(file, maxTextBytes+1))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.Path(name), err)
	}
	if len(data) > maxTextBytes {
		return nil, fmt.Errorf("read %s: it is larger than %d bytes, the limit for text files of a model", f.Path(name), maxTextBytes)
	}
	return data, nil
}

// OpenTensors opens a safetensors file of the folder.
func (f *Folder) OpenTensors(name string) (*safetensors.File, error) {
	if f.disk != "" {
		return safetensors.Open(f.Path(name))
	}
	return safetensors.OpenFS(f.fsys, name)
}
