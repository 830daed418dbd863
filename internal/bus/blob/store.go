package blob

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"yohaku/internal/atomicfile"
)

// Store is where a service reads blobs from and writes them to. It is safe for concurrent use.
type Store interface {
	// Open gives the blob's bytes; the error matches ErrNotFound when it has none such.
	Open(ref Ref) (Reader, error)
	// Create begins a blob; the caller ends with Commit or Abort.
	Create(ref Ref) (Writer, error)
}

// Reader reads one blob.
type Reader interface {
	io.ReaderAt
	io.Closer
}

// Writer takes one blob in any order. Commit checks the digest (ErrDigest) and makes the blob
// visible; Abort leaves nothing. After either, the writer is of no use.
type Writer interface {
	io.WriterAt
	Commit() error
	Abort()
}

const (
	tempPattern = ".blob-*.tmp"
	staleAfter  = 24 * time.Hour
)

// Folder is a Store: a folder with one file a blob, named by its digest in hexadecimal, and
// beside it any registered files elsewhere.
type Folder struct {
	dir string

	mu      sync.Mutex
	aliases map[Ref]alias
}

// alias is a file outside the folder as it was when it was hashed.
type alias struct {
	path     string
	modified time.Time
}

// OpenFolder opens the store at dir, which is created if missing. Leavings of crashed writers
// that are older than a day are removed.
func OpenFolder(dir string) (*Folder, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("open blob folder: %w", err)
	}
	leavings, err := filepath.Glob(filepath.Join(dir, tempPattern))
	if err != nil {
		return nil, fmt.Errorf("open blob folder %s: %w", dir, err)
	}
	for _, path := range leavings {
		if info, err := os.Stat(path); err == nil && time.Since(info.ModTime()) > staleAfter {
			_ = os.Remove(path) // The next start tries again.
		}
	}
	return &Folder{dir: dir, aliases: map[Ref]alias{}}, nil
}

// Register offers the file at path under its content's name without copying it. The file must
// not change afterwards; it is no longer served when its size or time did.
func (f *Folder) Register(path string) (Ref, error) {
	before, err := os.Stat(path)
	if err != nil {
		return Ref{}, fmt.Errorf("register blob: %w", err)
	}
	if !before.Mode().IsRegular() {
		return Ref{}, fmt.Errorf("register blob: %s is not a regular file", path)
	}
	ref, err := RefOfFile(path)
	if err != nil {
		return Ref{}, err
	}
	a := alias{path: path, modified: before.ModTime()}
	if err := a.check(ref); err != nil {
		return Ref{}, fmt.Errorf("register blob: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.aliases[ref] = a
	return ref, nil
}

// check says whether the file still is what was registered.
func (a alias) check(ref Ref) error {
	info, err := os.Stat(a.path)
	if err != nil {
		return err
	}
	if info.Size() != ref.Size || !info.ModTime().Equal(a.modified) {
		return fmt.Errorf("%s changed after it was registered (size %d, was %d); keep files unchanged while a run uses them", a.path, info.Size(), ref.Size)
	}
	return nil
}

// Path is where the blob's bytes are on disk, for programs that read files. It returns
// ErrNotFound as Open does.
func (f *Folder) Path(ref Ref) (string, error) {
	if err := ref.Check(); err != nil {
		return "", err
	}
	path := filepath.Join(f.dir, ref.SHA256)
	info, err := os.Stat(path)
	if err == nil && info.Size() == ref.Size {
		return path, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("find %v: %w", ref, err)
	}
	f.mu.Lock()
	a, ok := f.aliases[ref]
	f.mu.Unlock()
	if !ok {
		return "", fmt.Errorf("find %v: %w", ref, ErrNotFound)
	}
	if err := a.check(ref); err != nil {
		return "", fmt.Errorf("find %v: %w", ref, errors.Join(ErrNotFound, err))
	}
	return a.path, nil
}

// Open implements Store.
func (f *Folder) Open(ref Ref) (Reader, error) {
	path, err := f.Path(ref)
	if err != nil {
		return nil, err
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open %v: %w", ref, err)
	}
	return file, nil
}

// Put stores data.
func (f *Folder) Put(data []byte) (Ref, error) {
	ref := RefOf(data)
	w, err := f.Create(ref)
	if err != nil {
		return Ref{}, err
	}
	if _, err := w.WriteAt(data, 0); err != nil {
		w.Abort()
		return Ref{}, fmt.Errorf("store %v: %w", ref, err)
	}
	return ref, w.Commit()
}

// Create implements Store.
func (f *Folder) Create(ref Ref) (Writer, error) {
	if err := ref.Check(); err != nil {
		return nil, err
	}
	file, err := os.CreateTemp(f.dir, tempPattern)
	if err != nil {
		return nil, fmt.Errorf("store %v: %w", ref, err)
	}
	return &folderWriter{file: file, ref: ref, final: filepath.Join(f.dir, ref.SHA256)}, nil
}

type folderWriter struct {
	file  *os.File
	ref   Ref
	final string
}

// WriteAt writes within the blob's size.
func (w *folderWriter) WriteAt(p []byte, off int64) (int, error) {
	if off < 0 || int64(len(p)) > w.ref.Size-off {
		return 0, fmt.Errorf("write %d bytes at %d of %v: past the end", len(p), off, w.ref)
	}
	return w.file.WriteAt(p, off)
}

// Abort implements Writer.
func (w *folderWriter) Abort() {
	_ = w.file.Close()           // Its content does not matter.
	_ = os.Remove(w.file.Name()) // OpenFolder removes what stays.
}

// Commit implements Writer.
func (w *folderWriter) Commit() error {
	got, err := refOfReader(io.NewSectionReader(w.file, 0, MaxBytes))
	if err == nil && got != w.ref {
		err = digestError("store blob", w.ref, got.SHA256)
	}
	if err == nil {
		err = publish(w.file, w.final)
	}
	if err != nil {
		w.Abort()
		return fmt.Errorf("store %v: %w", w.ref, err)
	}
	return nil
}

// publish makes file durable, closes it and gives it its final name.
func publish(file *os.File, final string) error {
	if err := file.Chmod(0o644); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	if err := file.Close(); err != nil {
		return err
	}
	if err := os.Rename(file.Name(), final); err != nil {
		return err
	}
	return atomicfile.SyncDir(filepath.Dir(final))
}

// clean makes text from a peer fit one line of a message.
func clean(s string) string { return strings.Join(strings.Fields(s), " ") }
