package coordinator

import (
	"os/exec"
	"syscall"
)

// detach keeps a console's Ctrl-C from the worker: the coordinator tells it when to end.
func detach(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}
