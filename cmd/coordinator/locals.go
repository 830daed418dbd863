package main

import (
	"fmt"
	"io"
	"os"
	"sync"

	"yohaku/cmd/internal/cli"
	"yohaku/coordinator"
	"yohaku/internal/logkey"
)

// processes are the local workers of a command, which a signal may have to end.
type processes struct {
	mu  sync.Mutex
	all []*os.Process
}

func (p *processes) add(worker *os.Process) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.all = append(p.all, worker)
}

// kill ends the local workers with this process, at the second Ctrl-C.
func (p *processes) kill() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, worker := range p.all {
		_ = worker.Kill() // It may have ended.
	}
}

// logTo sets up logs, the progress bar, and how local workers are started.
func logTo(o *coordinator.Options) error {
	log := io.Writer(os.Stderr)
	o.WorkerLog = os.Stderr
	if o.Config.LogFormat != "json" && cli.Terminal(os.Stderr) {
		o.Progress, o.WorkerLog, log = os.Stderr, nil, cli.ClearLine{W: os.Stderr}
	}
	o.Log = cli.Logger(log, o.Config.LogFormat).With().Str(logkey.RunID, o.Config.RunID).Logger()
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find own executable to start local workers: %w", err)
	}
	o.WorkerCommand = []string{exe, "worker"}
	return nil
}
