package chaos

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// process is one of this machine whose command line was checked.
type process struct {
	*os.Process
	args []string
}

// findWorker finds the process of a worker that joined at one of addrs. The process is held before
// its command line is read, so that the signal reaches the one that was checked where the system
// can hold processes (on Linux by a descriptor).
func findWorker(pid int, addrs []string) (process, error) {
	return find(pid, func(args []string) bool {
		named := slices.ContainsFunc(args, func(a string) bool { return slices.Contains(addrs, a) })
		return named && (slices.Contains(args, "worker") || slices.Contains(args, "join"))
	}, "a worker of this run")
}

func find(pid int, is func(args []string) bool, what string) (process, error) {
	if pid <= 1 || pid == os.Getpid() {
		return process{}, fmt.Errorf("process %d is not %s", pid, what)
	}
	p, err := os.FindProcess(pid)
	if err != nil {
		return process{}, fmt.Errorf("find process %d: %w", pid, err)
	}
	args, err := commandLine(pid)
	if err != nil {
		return process{}, err
	}
	if !is(args) {
		return process{}, fmt.Errorf("process %d is not %s: its command is %.80q", pid, what, strings.Join(args, " "))
	}
	return process{p, args}, nil
}
