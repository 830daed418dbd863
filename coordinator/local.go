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
	"yohaku/internal/wire"
)

// TokenVariable hands the join token to a local worker, so that it stands in no process list.
const TokenVariable = "YOHAKU_TOKEN"

// localWorkers are the worker processes on this machine that a coordinator of this run started: the
// same executable with the hidden worker command, joining as any other worker does. They outlive a
// coordinator that is killed, and the next one adopts them. So they log to a file, which the
// coordinator of the moment repeats.
type localWorkers struct {
	o       Options
	start   func(name string) error
	log     string // File that the workers log to.
	follow  *follower
	before  []string // Node names of those that a coordinator before this one started.
	exited  chan localExit
	wg      sync.WaitGroup
	workers []localWorker
	ended   int  // How many ended unasked.
	leaving bool // Their end is expected.
}

type localWorker struct {
	name    string // Without the unique part of its node name.
	process *os.Process
}

// localExit reports that a local worker's process ended.
type localExit struct {
	name string
	pid  int
	err  error
}

// workersLog is the file that local workers log to.
const workersLog = "workers.log"

// openLocals gets ready to start and adopt local workers.
func (c *Coordinator) openLocals() error {
	l, err := newLocalWorkers(c.o, c.run)
	if err != nil {
		return err
	}
	for _, w := range c.record.workers {
		if w.Local && w.Host == hostname() {
			l.before = append(l.before, w.Name)
		}
	}
	c.locals = l
	return nil
}

func newLocalWorkers(o Options, run *runstore.Run) (*localWorkers, error) {
	l := &localWorkers{o: o, log: run.Path(workersLog), exited: make(chan localExit, o.Config.LocalWorkers+maxAdded)}
	if o.WorkerLog == nil {
		return l, nil
	}
	var err error
	l.follow, err = followFile(l.log, o.WorkerLog)
	return l, err
}

// started tells whether a coordinator on this machine started the worker.
func (l *localWorkers) started(h wire.Hello) bool {
	return h.Host == hostname() && (slices.Contains(l.before, h.Node) ||
		slices.ContainsFunc(l.workers, func(w localWorker) bool { return w.process.Pid == h.PID }))
}

// adopt takes a worker on that a coordinator before this one started.
func (l *localWorkers) adopt(h wire.Hello) {
	if !slices.Contains(l.before, h.Node) || h.Host != hostname() || l.leaving {
		return
	}
	process, err := os.FindProcess(h.PID)
	name, _, ok := cutLast(h.Node, "-")
	if err != nil || !ok || l.has(name) {
		return
	}
	l.o.Log.Info().Str(logkey.Node, h.Node).Int("pid", h.PID).Msg("local worker adopted")
	l.watch(localWorker{name, process}, func() error {
		waitProcess(process)
		return errors.New("it is not this process's child, so why is not known")
	})
}

// cutLast is strings.Cut at the last sep.
func cutLast(s, sep string) (before, after string, ok bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// watch reports the end of a process, for which wait waits.
func (l *localWorkers) watch(w localWorker, wait func() error) {
	l.o.LocalStarted(w.process)
	l.workers = append(l.workers, w)
	l.wg.Go(func() {
		exit := localExit{w.name, w.process.Pid, wait()}
		select {
		case l.exited <- exit:
		default: // Nobody listens any more: there is room for the workers of one coordinator.
		}
	})
}

// startAll starts the workers that are not there yet.
func (l *localWorkers) startAll(ctx context.Context, addr string, token func() string) error {
	l.start = func(name string) error { return l.startOne(ctx, name, addr, token()) }
	for i := range l.o.Config.LocalWorkers {
		if name := localName(i); !l.has(name) {
			if err := l.start(name); err != nil {
				return err
			}
		}
	}
	return nil
}

func localName(i int) string { return "local-" + strconv.Itoa(i) }

func (l *localWorkers) has(name string) bool {
	return slices.ContainsFunc(l.workers, func(w localWorker) bool { return w.name == name })
}

// maxAdded bounds the local workers that are started on request while the run goes on.
const maxAdded = 64

// add starts a further one.
func (l *localWorkers) add() error {
	if len(l.workers) >= cap(l.exited) {
		return fmt.Errorf("%d local workers were started already, no more are", len(l.workers))
	}
	i := len(l.workers)
	for l.has(localName(i)) {
		i++
	}
	return l.start(localName(i))
}

// startOne starts a worker process. It takes orders to hurt itself, since it is this coordinator's own.
func (l *localWorkers) startOne(ctx context.Context, name, addr, token string) error {
	file, err := os.OpenFile(l.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("open log of local workers: %w", err)
	}
	defer file.Close() // The worker holds it.
	command := l.o.WorkerCommand
	args := append(command[1:len(command):len(command)], addr, "--name", name, "--allow-chaos",
		"--threads", strconv.Itoa(l.o.Config.LocalThreads()), "--memory-limit", l.o.Config.MemoryLimit, "--profile", l.o.Config.Profile, "--log-format", l.o.Config.LogFormat)
	cmd := exec.CommandContext(ctx, command[0], args...)
	cmd.Env = append(os.Environ(), TokenVariable+"="+token)
	cmd.Stderr = file
	detach(cmd)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start local worker: %w", err)
	}
	l.o.Log.Debug().Str(logkey.Node, name).Int("pid", cmd.Process.Pid).Msg("local worker started")
	l.watch(localWorker{name, cmd.Process}, cmd.Wait)
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
	if !c.trained() && !c.evaluating {
		return fmt.Errorf("local worker %s ended before training: %w; %s", e.name, cmpErr(e.err), c.locals.lastWords())
	}
	if c.locals.ended++; c.locals.ended == len(c.locals.workers) && !c.remoteWorkers() {
		next := "continue with --resume " + c.o.Config.RunID
		if c.evaluating {
			next = "the same command goes on with what is done"
		}
		return fmt.Errorf("the last worker, %s, ended: %w; %s; %s", e.name, cmpErr(e.err), c.locals.lastWords(), next)
	}
	return nil
}

// trained tells whether a ring of this run was made, by this coordinator or one before.
func (c *Coordinator) trained() bool { return c.training.generation > 0 || c.holders() }

// remoteWorkers tells whether there is a worker that no coordinator on this machine started.
func (c *Coordinator) remoteWorkers() bool {
	for _, n := range c.nodes {
		if !c.locals.started(n.hello) {
			return true
		}
	}
	return false
}

// maxWords bounds what is repeated of a worker's log, bytes.
const maxWords = 2048

// lastWords is the last line of the workers' log, which tells why one ended, or where to find it.
func (l *localWorkers) lastWords() string {
	if l.follow != nil {
		return "its log above says why" // It is repeated before this error.
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
	for _, w := range l.workers {
		if !joined[w.process.Pid] {
			_ = w.process.Signal(os.Interrupt) // It may have ended, or the system has none: wait ends it.
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
		for _, w := range l.workers {
			_ = w.process.Kill() // It may have ended meanwhile.
		}
		<-done
	}
}

// close ends the repetition of the workers' log, at its end.
func (l *localWorkers) close() error {
	if l.follow == nil {
		return nil
	}
	return l.follow.close()
}

// hostname is this machine's name as workers on it give it.
func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	return name
}
