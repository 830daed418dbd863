//go:build unix

package main

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// signal sends a signal to a worker.
func signal(t *testing.T, pid int, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pid, s); err != nil {
		t.Fatal(err)
	}
}

// checkNothingRepeated: no step was lost, so none was computed twice from a checkpoint.
func checkNothingRepeated(t *testing.T, log []string) {
	t.Helper()
	for _, line := range log {
		if strings.Contains(line, "going back to the last checkpoint") || strings.Contains(line, "nobody is left to report") {
			t.Errorf("steps were repeated or not reported: %s", line)
		}
	}
}

// testAllButOneKilled: the last worker goes on from where the ring stood.
func testAllButOneKilled(t *testing.T) {
	c := newCluster(t)
	p := c.up("run", "--local-workers", "3")
	p.committed(t, 25)
	for _, n := range c.status().Nodes[:2] {
		signal(t, n.PID, syscall.SIGKILL)
	}
	alone := p.event(t, "generation of one", func(e entry) bool { return e.Message == "generation formed" && e.WorldSize == 1 })
	if alone.Step < 25 {
		t.Errorf("the last generation begins at step %d, want at least 25", alone.Step)
	}
	c.ends(p)
	checkNothingRepeated(t, p.log.all())
	c.checkSame("run")
}

// testLeave: a guest that is asked to leave ends well, and the run goes on without it.
func testLeave(t *testing.T) {
	c := newCluster(t)
	p := c.up("run", "--local-workers", "1")
	addr, token, err := p.joinLine()
	if err != nil {
		t.Fatal(err)
	}
	p.committed(t, 5)
	w := c.command("worker", "join", addr, "--token", token, "--name", "guest", "--threads", "1", "--log-format", "json")
	second := p.event(t, "generation of two", func(e entry) bool { return e.Message == "generation formed" && e.WorldSize == 2 })
	p.committed(t, second.Step+3)
	signal(t, w.cmd.Process.Pid, syscall.SIGTERM)
	c.ends(w)
	p.event(t, "generation of one", func(e entry) bool {
		return e.Message == "generation formed" && e.WorldSize == 1 && e.Step > second.Step
	})
	c.ends(p)
	checkNothingRepeated(t, p.log.all())
	c.checkSame("run")
	checkTookPart(t, filepath.Join(c.out, "run"), "guest", second.Step+1)
}

// testFrozen: a worker that stops is given up, and comes back as a new member when it goes on.
func testFrozen(t *testing.T) {
	c := newCluster(t)
	p := c.up("run", "--local-workers", "2")
	p.committed(t, 5)
	frozen := c.status().Nodes[1]
	signal(t, frozen.PID, syscall.SIGSTOP)
	p.event(t, "word of the frozen worker", func(e entry) bool { return e.Message == "worker gone" })
	signal(t, frozen.PID, syscall.SIGCONT)
	p.event(t, "its return", func(e entry) bool { return strings.Contains(e.Message, "joining again") })
	c.ends(p)
	checkNothingRepeated(t, p.log.all())
	c.checkSame("run")
}

// testStraggler: a worker that gets a fifth of its time is relieved of micro-batches within steps and
// between them, and nobody takes it for dead.
func testStraggler(t *testing.T) {
	c := newCluster(t)
	p := c.up("run", "--local-workers", "3", "--gradient-accumulation-steps", "5")
	p.committed(t, 5)
	slow := c.status().Nodes[0].PID
	over := make(chan struct{})
	pulses := time.NewTicker(10 * time.Millisecond)
	go func() {
		defer close(over)
		for i := 0; ; i++ {
			<-pulses.C
			s := syscall.SIGSTOP
			if i%5 == 4 {
				s = syscall.SIGCONT
			}
			if syscall.Kill(slow, s) != nil {
				return // It has ended.
			}
		}
	}()
	p.committed(t, 40)
	c.ends(p)
	<-over
	pulses.Stop()
	checkNothingRepeated(t, p.log.all())
	c.checkSame("run")
	if r := c.report("run"); r.Generations != 1 {
		t.Errorf("%d generations, want 1", r.Generations)
	}
}
