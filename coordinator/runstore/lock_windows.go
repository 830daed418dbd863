package runstore

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/windows"
)

// lockOffset lies behind all that is written: a locked range cannot be read by others.
const lockOffset = 1 << 30

// tryLock takes a byte-range lock that the system gives back when the process dies. It returns
// errInUse when another process has it.
func tryLock(f *os.File) error {
	const flags = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	err := windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, &windows.Overlapped{Offset: lockOffset})
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return errInUse
	}
	if err != nil {
		return fmt.Errorf("lock %s: %w; keep runs on a file system with locks", f.Name(), err)
	}
	return nil
}
