package coordinator

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"time"

	"yohaku/internal/logkey"
)

// TokenVariable hands the join token to a local worker, so that it stands in no process list.
const TokenVariable = "YOHAKU_TOKEN"

// localWorkers are the worker processes that this coordinator started: the same executable with
// the hidden worker command, joining as any other worker does.
type localWorkers struct {
	err     error
	exited  chan localExit
	wg      sync.WaitGroup
	cmds    []*exec.Cmd
	leaving bool // Their end is expected.
}

// localExit reports that a local worker's process ended.
type localExit struct {
	name string
	pid  int
	err  error
}

func startLocalWorkers(ctx context.Context, o Options, addr, token string) *localWorkers {
	l := &localWorkers{exited: make(chan localExit, o.Config.LocalWorkers)}
	for i := range o.Config.LocalWorkers {
		name := "local-" + strconv.Itoa(i)
		args := append(o.WorkerCommand[1:len(o.WorkerCommand):len(o.WorkerCommand)], addr, "--name", name,
			"--threads", strconv.Itoa(o.Config.LocalThreads()), "--log-format", o.Config.LogFormat)
		cmd := exec.CommandContext(ctx, o.WorkerCommand[0], args...)
		cmd.Env = append(os.Environ(), TokenVariable+"="+token)
		cmd.Stderr = o.WorkerLog
		detach(cmd)
		if err := cmd.Start(); err != nil {
			l.err = fmt.Errorf("start local worker: %w", err)
			return l
		}
		o.Log.Debug().Str(logkey.Node, name).Int("pid", cmd.Process.Pid).Msg("local worker started")
		l.cmds = append(l.cmds, cmd)
		l.wg.Go(func() { l.exited <- localExit{name, cmd.Process.Pid, cmd.Wait()} })
	}
	return l
}

// exits tells of processes that ended.
func (l *localWorkers) exits() <-chan localExit { return l.exited }

// localExit decides what the end of a local worker's process means: before training it ends the
// run, since the worker said why on its log; later its membership ends by itself.
func (c *Coordinator) localExit(e localExit) error {
	if c.locals.leaving {
		return nil
	}
	c.log.Warn().Str(logkey.Node, e.name).AnErr("cause", e.err).Msg("local worker ended")
	if c.training.generation == 0 {
		return fmt.Errorf("local worker %s ended before training: %w; its log lines above say why", e.name, cmpErr(e.err))
	}
	return nil
}

func cmpErr(err error) error {
	if err == nil {
		return errors.New("exit status 0")
	}
	return err
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
