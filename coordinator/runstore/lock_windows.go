package runstore

import (
	"fmt"
	"os"

	"golang.org/x/sys/windows"
)

// lock is a byte-range lock that the system gives back when the process dies.
type lock struct{ file *os.File }

func acquire(path string) (*lock, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	const flags = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	if err := windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, new(windows.Overlapped)); err != nil {
		_ = f.Close() // Only opened.
		return nil, ErrLocked
	}
	return &lock{f}, nil
}

func (l *lock) release() error { return l.file.Close() }
