//go:build unix

package chaos

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
)

// commandLine is the arguments of a process, the first its name.
func commandLine(pid int) ([]string, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/cmdline")
	if err == nil {
		return strings.Split(string(bytes.TrimRight(data, "\x00")), "\x00"), nil
	}
	out, err := exec.Command("ps", "-o", "command=", "-p", strconv.Itoa(pid)).Output() // Where there is no /proc.
	if err != nil {
		return nil, fmt.Errorf("read the command of process %d: %w", pid, err)
	}
	return strings.Fields(string(out)), nil
}

// detach has the process outlive this one and its terminal.
func detach(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }

func (p process) freeze() error { return p.Signal(syscall.SIGSTOP) }

func (p process) thaw() error { return p.Signal(syscall.SIGCONT) }
