//go:build unix

package runstore

import (
	"fmt"
	"os"
	"syscall"
)

// lock is an advisory lock that the kernel gives back when the process dies.
type lock struct{ file *os.File }

func acquire(path string) (*lock, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close() // Only opened.
		return nil, ErrLocked
	}
	return &lock{f}, nil
}

func (l *lock) release() error { return l.file.Close() }
