package chaos

import (
	"errors"
	"os/exec"
)

var errWindows = errors.New("on Windows a worker is hurt by an order only: start it with --allow-chaos")

func commandLine(int) ([]string, error) { return nil, errWindows }

func detach(*exec.Cmd) {} // Not reached: no command line is read.

func (p process) freeze() error { return errWindows }

func (p process) thaw() error { return errWindows }
