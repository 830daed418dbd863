//go:build unix

package coordinator

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// detach keeps a terminal's Ctrl-C from the worker: the coordinator tells it when to end.
func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }

// processAlive tells whether a process computes still. One that ended and whose parent did not look
// yet, as under a container's first process that never does, is dead.
func processAlive(pid int) bool {
	if pid <= 0 || errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true // A system without it.
	}
	_, after, _ := bytes.Cut(stat, []byte(") "))
	return len(after) == 0 || after[0] != 'Z' && after[0] != 'X'
}

// waitPoll is how often a process is looked at that is not a child of this one.
const waitPoll = 50 * time.Millisecond

// waitProcess waits for the end of a process that is not a child of this one.
func waitProcess(p *os.Process) {
	for processAlive(p.Pid) {
		time.Sleep(waitPoll)
	}
}
