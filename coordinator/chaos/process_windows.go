package chaos

import "errors"

var errWindows = errors.New("on Windows a worker is hurt by an order only: start it with --allow-chaos")

func commandLine(int) ([]string, error) { return nil, errWindows }

func (p process) freeze() error { return errWindows }

func (p process) thaw() error { return errWindows }
