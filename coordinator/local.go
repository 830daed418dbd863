package coordinator

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"yohaku/coordinator/runstore"
	"yohaku/internal/logkey"
)

// TokenVariable hands the join token to a local worker, so that it stands in no process list.
const TokenVariable = "YOHAKU_TOKEN"

// localWorkers are the worker processes that this coordinator started: the same executable with
// the hidden worker command, joining as any other worker does.
type localWorkers struct {
	err     error
	start   func(name string) error
	log     string // File that the workers log to, or "" when it is standard error.
	exited  chan localExit
	wg      sync.WaitGroup
	cmds    []*exec.Cmd
	ended   int  // How many ended unasked.
	leaving bool // Their end is expected.
}

// localExit reports that a local worker's process ended.
type localExit struct {
	name string
	pid  int
	err  error
}

// workersLog is the file that local workers log to while the terminal shows the progress bar.
const workersLog = "workers.log"

// maxAdded bounds the local workers that are started on request while the run goes on.
const maxAdded = 64

func startLocalWorkers(ctx context.Context, o Options, run *runstore.Run, addr string, token func() string) *localWorkers {
	l := &localWorkers{exited: make(chan localExit, o.Config.LocalWorkers+maxAdded), log: run.Path(workersLog)}
	if o.WorkerLog != nil {
		l.log = ""
	}
	l.start = func(name string) error { return l.startOne(ctx, o, name, addr, token()) }
	for range o.Config.LocalWorkers {
		if l.err = l.start(l.nextName()); l.err != nil {
			return l
		}
	}
	return l
}

func (l *localWorkers) nextName() string { return "local-" + strconv.Itoa(len(l.cmds)) }

// add starts a further one.
func (l *localWorkers) add() error {
	if len(l.cmds) >= cap(l.exited) {
		return fmt.Errorf("%d local workers were started already, no more are", len(l.cmds))
	}
	return l.start(l.nextName())
}

// startOne starts a worker process. It takes orders to hurt itself, since it is this coordinator's own.
func (l *localWorkers) startOne(ctx context.Context, o Options, name, addr, token string) error {
	log := o.WorkerLog
	if l.log != "" {
		file, err := os.OpenFile(l.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err != nil {
			return fmt.Errorf("open log of local workers: %w", err)
		}
		defer file.Close() // The worker holds it now.
		log = file
	}
	args := append(o.WorkerCommand[1:len(o.WorkerCommand):len(o.WorkerCommand)], addr, "--name", name, "--allow-chaos",
		"--threads", strconv.Itoa(o.Config.LocalThreads()), "--memory-limit", o.Config.MemoryLimit, "--profile", o.Config.Profile, "--log-format", o.Config.LogFormat)
	cmd := exec.CommandContext(ctx, o.WorkerCommand[0], args...)
	cmd.Env = append(os.Environ(), TokenVariable+"="+token)
	cmd.Stderr = log
	detach(cmd)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start local worker: %w", err)
	}
	o.Log.Debug().Str(logkey.Node, name).Int("pid", cmd.Process.Pid).Msg("local worker started")
	o.LocalStarted(cmd.Process)
	l.cmds = append(l.cmds, cmd)
	l.wg.Go(func() { l.exited <- localExit{name, cmd.Process.Pid, cmd.Wait()} })
	return nil
}

// exits tells of processes that ended.
func (l *localWorkers) exits() <-chan localExit { return l.exited }

// localExit decides what the end of a local worker's process means: before training it ends the
// run, since the worker said why on its log; later its membership ends by itself, and the run goes
// on while any worker is left. Nobody starts local workers again, so that the last one ends it.
func (c *Coordinator) localExit(e localExit) error {
	if c.locals.leaving {
		return nil
	}
	c.log.Warn().Str(logkey.Node, e.name).AnErr("cause", e.err).Msg("local worker ended")
	if c.training.generation == 0 {
		return fmt.Errorf("local worker %s ended before training: %w; %s", e.name, cmpErr(e.err), c.locals.lastWords())
	}
	if c.locals.ended++; c.locals.ended == len(c.locals.cmds) && !c.remoteWorkers() {
		return fmt.Errorf("the last worker, %s, ended: %w; %s; continue with --resume %s", e.name, cmpErr(e.err), c.locals.lastWords(), c.o.Config.RunID)
	}
	return nil
}

// remoteWorkers tells whether there is a worker that this coordinator did not start.
func (c *Coordinator) remoteWorkers() bool {
	for _, n := range c.nodes {
		if !slices.ContainsFunc(c.locals.cmds, func(cmd *exec.Cmd) bool { return cmd.Process.Pid == n.hello.PID }) {
			return true
		}
	}
	return false
}

// maxWords bounds what is repeated of a worker's log, bytes.
const maxWords = 2048

// lastWords is the last line of the workers' log, which tells why one ended, or where to find it.
func (l *localWorkers) lastWords() string {
	if l.log == "" {
		return "its log above says why"
	}
	data, err := os.ReadFile(l.log)
	if err != nil {
		return "its log says why: " + err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	last := lines[len(lines)-1]
	return "its log ends with: " + last[max(0, len(last)-maxWords):]
}

func cmpErr(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
}

// interrupt asks the workers to end that are no nodes yet, and so can take no order.
func (l *localWorkers) interrupt(nodes map[string]*node) {
	joined := map[int]bool{}
	for _, n := range nodes {
		joined[n.hello.PID] = true
	}
	for _, cmd := range l.cmds {
		if !joined[cmd.Process.Pid] {
			_ = cmd.Process.Signal(os.Interrupt) // It may have ended, or the system has none: wait ends it.
		}
	}
}

// wait gives the local workers a while to leave, and ends those that do not.
func (l *localWorkers) wait(limit time.Duration) {
	done := make(chan struct{})
	go func() { l.wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(limit):
		for _, cmd := range l.cmds {
			_ = cmd.Process.Kill() // It may have ended meanwhile.
		}
		<-done
	}
}
