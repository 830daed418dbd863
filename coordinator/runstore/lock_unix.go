//go:build unix

package runstore

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// tryLock takes an advisory lock that the kernel gives back when the process dies. It returns
// errInUse when another process has it.
func tryLock(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return errInUse
	}
	if err != nil {
		return fmt.Errorf("lock %s: %w; keep runs on a file system with locks", f.Name(), err)
	}
	return nil
}
