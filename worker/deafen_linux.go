package worker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// deafPeriod is how often sockets that are new are looked for.
const deafPeriod = 2 * time.Millisecond

// deafen drops every packet that arrives at a network socket of this process, for d or until ctx
// ends: a filter on each socket takes nothing in. What the process sends is not answered, so TCP
// stops after one window. Listeners for Multipath TCP take no filter: a connection to one is deaf from
// its first milliseconds on. It needs no privilege.
func deafen(ctx context.Context, d time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	ticker := time.NewTicker(deafPeriod)
	defer ticker.Stop()
	deaf := map[int]uint64{} // Socket numbers by descriptor.
	for {
		if err := eachSocket(func(fd int, inode uint64) error {
			if deaf[fd] == inode {
				return nil
			}
			deaf[fd] = inode
			return dropAll(fd)
		}); err != nil {
			return errors.Join(err, hear())
		}
		select {
		case <-ctx.Done():
			return hear()
		case <-ticker.C:
		}
	}
}

// hear takes the filters away.
func hear() error {
	return eachSocket(func(fd int, _ uint64) error {
		err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0)
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EOPNOTSUPP) {
			return nil // It had none, or can have none.
		}
		return err
	})
}

// dropAll attaches the filter "return 0", which accepts no byte of any packet.
func dropAll(fd int) error {
	program := []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}
	err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]})
	if listens, _ := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); listens == 1 && errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	return err
}

// eachSocket calls f for every IP socket of this process. Sockets that are closed meanwhile are none.
func eachSocket(f func(fd int, inode uint64) error) error {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return fmt.Errorf("list sockets: %w", err)
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
		if err != nil || domain != unix.AF_INET && domain != unix.AF_INET6 {
			continue
		}
		var stat unix.Stat_t
		if unix.Fstat(fd, &stat) != nil {
			continue
		}
		if err := f(fd, stat.Ino); err != nil && !errors.Is(err, unix.EBADF) && !errors.Is(err, unix.ENOTSOCK) {
			return fmt.Errorf("socket %d: %w", fd, err)
		}
	}
	return nil
}
