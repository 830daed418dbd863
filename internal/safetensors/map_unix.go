//go:build linux || darwin

package safetensors

import (
	"math"
	"os"

	"golang.org/x/sys/unix"
)

// mapFile maps the file for reading, or returns nil where the system refuses: it is then read piece by piece.
func mapFile(f *os.File, size int64) []byte {
	if size == 0 || size > math.MaxInt {
		return nil
	}
	mapped, err := unix.Mmap(int(f.Fd()), 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil
	}
	_ = unix.Madvise(mapped, unix.MADV_SEQUENTIAL) // A refusal costs speed only.
	return mapped
}

func unmapFile(mapped []byte) error {
	if mapped == nil {
		return nil
	}
	return unix.Munmap(mapped)
}

// dropPages takes the pages of bytes from at on out of the process; they are read again if they are needed.
func dropPages(mapped []byte, at, bytes int) {
	page := os.Getpagesize()
	from := at / page * page
	if to := at + bytes; to > from {
		_ = unix.Madvise(mapped[from:to], unix.MADV_DONTNEED) // A refusal costs memory only.
	}
}
