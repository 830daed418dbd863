//go:build unix

package worker

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"
)

// killSelf ends the process at once, as the out-of-memory killer does.
func killSelf() error { return syscall.Kill(os.Getpid(), syscall.SIGKILL) }

// freezeSelf stops all threads of the process for d. A shell wakes it up, which outlives a worker
// that is killed meanwhile.
func freezeSelf(d time.Duration) error {
	pid := os.Getpid()
	seconds := strconv.FormatFloat(d.Seconds(), 'f', 3, 64)
	cmd := exec.Command("/bin/sh", "-c", fmt.Sprintf("kill -STOP %d; sleep %s; kill -CONT %d", pid, seconds, pid))
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("freeze: %w", err)
	}
	return nil
}
