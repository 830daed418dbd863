package chaos

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"yohaku/coordinator/api"
)

// coordinatorLog is the file in the run folder that a coordinator writes to which was started again.
const coordinatorLog = "coordinator.log"

// startup is how a process was started.
type startup struct {
	exe, dir  string
	args, env []string
}

// startupOf reads how a living process was started, and that its program is still there.
func startupOf(pid int) (startup, error) {
	var s startup
	proc := filepath.Join("/proc", strconv.Itoa(pid))
	read := func(name string) []string {
		data, err := os.ReadFile(filepath.Join(proc, name))
		if err != nil || len(data) == 0 {
			return nil
		}
		return strings.Split(string(bytes.TrimSuffix(data, []byte{0})), "\x00")
	}
	s.args, s.env = read("cmdline"), read("environ")
	var err, noExe error
	s.dir, err = os.Readlink(filepath.Join(proc, "cwd"))
	s.exe, noExe = os.Readlink(filepath.Join(proc, "exe"))
	if err = errors.Join(err, noExe); err == nil && len(s.args) == 0 {
		err = errors.New("its command line is empty")
	}
	if err == nil {
		_, err = os.Stat(s.exe) // It may have been built anew.
	}
	if err != nil {
		return s, fmt.Errorf("the system does not tell how to start process %d again (only Linux does): %w", pid, err)
	}
	return s, nil
}

// start starts the process again, on its own and with its output in log. ended closes when it ends.
func (s startup) start(log *os.File) (ended <-chan struct{}, err error) {
	cmd := exec.Command(s.exe)
	cmd.Args, cmd.Env, cmd.Dir = s.args, s.env, s.dir
	cmd.Stdout, cmd.Stderr = log, log
	detach(cmd)
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the coordinator again: %w", err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait() // Its log says how it ended.
	}()
	return done, nil
}

// findCoordinator finds the coordinator's process, on this machine, and with the lock of the run.
func (k *chaos) findCoordinator(s api.Status, dir string) (process, error) {
	if s.Host != k.host {
		return process{}, fmt.Errorf("the coordinator works on %s: kill it from there", s.Host)
	}
	pid, held, err := k.Holder(dir)
	if err != nil {
		return process{}, err
	}
	if !held || pid != s.PID {
		return process{}, fmt.Errorf("the lock of %s does not name process %d, which its API does: give --out of the run", dir, s.PID)
	}
	return find(s.PID, func(args []string) bool { return slices.Contains(args, "up") }, "the coordinator of this run")
}

// hurtCoordinator kills the coordinator, starts it again as it was started, and waits until a
// generation of it trains.
func (k *chaos) hurtCoordinator(ctx context.Context, s api.Status, o *Outcome) error {
	dir := filepath.Join(k.Out, s.RunID)
	p, err := k.findCoordinator(s, dir)
	if err != nil {
		return err
	}
	how, err := startupOf(s.PID)
	if err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(dir, coordinatorLog), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	defer log.Close() // The coordinator has its own descriptor.
	k.say("kill the coordinator (process %d) at step %d\n", s.PID, s.Step)
	t0 := time.Now()
	if err := p.Kill(); err != nil {
		return err
	}
	if err := k.revive(ctx, how, log, dir, s.PID); err != nil {
		return err
	}
	if err := k.recovered(ctx, o, t0, nil); err != nil {
		return err
	}
	o.Note = fmt.Sprintf("%d steps without it", o.StepsMeanwhile)
	return nil
}

// revive starts the coordinator again when the lock of process pid is free, and waits until its API
// answers. Meanwhile nobody here looks at the lock, which the new one must find free.
func (k *chaos) revive(ctx context.Context, how startup, log *os.File, dir string, pid int) error {
	if err := k.wait(ctx, k.Limit, "end of the coordinator", func() (bool, error) {
		_, held, err := k.Holder(dir)
		return err == nil && !held, err
	}); err != nil {
		return err
	}
	if err := pause(ctx, k.AwayFor); err != nil {
		return err
	}
	ended, err := how.start(log)
	if err != nil {
		return err
	}
	return k.wait(ctx, k.Limit, "answer of the coordinator that was started again", func() (bool, error) {
		select {
		case <-ended:
			return false, fmt.Errorf("the coordinator that was started again has ended; %s says why", log.Name())
		default:
		}
		client, err := api.Find(dir)
		if err != nil {
			return false, err
		}
		var s api.Status
		err = client.Do(ctx, "GET", "status", &s)
		return err == nil && s.PID != pid, nil // Until then nobody answers.
	})
}
