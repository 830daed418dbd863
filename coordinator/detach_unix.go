//go:build unix

package coordinator

import (
	"os/exec"
	"syscall"
)

// detach keeps a terminal's Ctrl-C from the worker: the coordinator tells it when to end.
func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} }
