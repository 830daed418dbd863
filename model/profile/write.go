package profile

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/pprof"

	"yohaku/model/compile"
)

// Files write BASE.txt and BASE.trace.json.
func Files(base, title string, code []compile.InstructionProfile) error {
	return errors.Join(
		file(base+".txt", func(w io.Writer) error { return WriteTable(w, title, code) }),
		file(base+".trace.json", func(w io.Writer) error { return WriteTrace(w, title, code) }),
	)
}

func file(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("write profile: %w", err)
	}
	return errors.Join(write(f), f.Close())
}

// Processor starts a processor profile in the file path; stop ends it. A process has one at a time.
func Processor(path string) (stop func() error, err error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("write profile: %w", err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(fmt.Errorf("start processor profile: %w", err), f.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}
