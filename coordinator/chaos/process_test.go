//go:build unix

package chaos

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"yohaku/coordinator/api"
)

// TestOnlyWorkersOfTheRunAreHurt: a process is taken for a worker by its whole command.
func TestOnlyWorkersOfTheRunAreHurt(t *testing.T) {
	const addr = "127.0.0.1:4711"
	start := func(args ...string) int {
		cmd := exec.Command("/bin/sh", append([]string{"-c", "read x"}, args...)...) // Ends with its input.
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = in.Close() // It may have ended.
			_ = cmd.Wait() // As above.
		})
		for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
			if got, err := commandLine(cmd.Process.Pid); err == nil && slices.Contains(got, args[0]) {
				break // Linux shows an empty command for a moment after the start.
			}
		}
		return cmd.Process.Pid
	}
	worker := start("join", addr)
	p, err := findWorker(worker, []string{addr})
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	for name, pid := range map[string]int{
		"another run's": start("join", "127.0.0.1:1"), "no worker": start("up", addr), "this process": os.Getpid(), "the first process": 1, "none": -5,
	} {
		if _, err := findWorker(pid, []string{addr}); err == nil || !strings.Contains(err.Error(), "is not a worker of this run") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestOnlyTheCoordinatorOfTheRunIsKilled: machine, lock and command must all say that it is the one.
func TestOnlyTheCoordinatorOfTheRunIsKilled(t *testing.T) {
	own := os.Getpid()
	for _, c := range []struct {
		name, host string
		pid        int
		held       bool
		want       string
	}{
		{"elsewhere", "there", own, true, "works on there"},
		{"lock free", "here", own, false, "does not name process"},
		{"another's lock", "here", own + 1, true, "does not name process"},
		{"this process", "here", own, true, "is not the coordinator of this run"},
	} {
		k := &chaos{host: "here", Config: Config{Holder: func(string) (int, bool, error) { return c.pid, c.held, nil }}}
		if _, err := k.findCoordinator(api.Status{Host: c.host, PID: own}, "run"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}
