//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package blob

import (
	"os"

	"golang.org/x/sys/unix"
)

// lock takes the file for this process alone until it is closed; false means that another has it.
func lock(f *os.File) bool {
	return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil
}
