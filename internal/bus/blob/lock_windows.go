package blob

import (
	"os"

	"golang.org/x/sys/windows"
)

// lock takes the file for this process alone until it is closed; false means that another has it.
// The locked byte lies past any blob's end, so that reading and writing stay free.
func lock(f *os.File) bool {
	at := &windows.Overlapped{OffsetHigh: 0x7fffffff}
	return windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, at) == nil
}
