//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"yohaku/coordinator/runstore"
	"yohaku/internal/epoch"
)

// workersLog waits until the log of the local workers of a run has a line that match accepts. Without
// a coordinator nobody repeats it.
func (c *cluster) workersLog(id, what string, match func(entry) bool) {
	c.t.Helper()
	path := filepath.Join(c.out, id, "workers.log")
	c.until(what+" is in "+path, eventTimeout, func() bool {
		data, err := os.ReadFile(path)
		if err != nil {
			c.t.Fatal(err)
		}
		for line := range strings.Lines(string(data)) {
			var e entry
			if json.Unmarshal([]byte(line), &e) == nil && match(e) {
				return true
			}
		}
		return false
	})
}

// epochs are the steps of a run's ledger by the count of their epoch.
func (c *cluster) epochs(id string) map[uint64][]int {
	c.t.Helper()
	steps := map[uint64][]int{}
	for _, line := range lines(c.t, filepath.Join(c.out, id, "ledger.jsonl")) {
		var l runstore.LedgerLine
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			c.t.Fatal(err)
		}
		count := epoch.Count(l.Epoch)
		steps[count] = append(steps[count], l.Step)
	}
	return steps
}

// fails waits for exit code 1 and returns the one error line, after log lines.
func (c *cluster) fails(p *process, with string) {
	c.t.Helper()
	if code := p.wait(runLimit); code != 1 {
		c.t.Fatalf("exit code %d, want 1:\n%s", code, p.logText())
	}
	if _, err := p.log.wait("the error", func(line string) bool { return strings.Contains(line, with) }); err != nil {
		c.t.Errorf("%v", err) // Its log is read beside it, and may end after it.
	}
	all := p.log.all()
	failures := 0
	for _, line := range all {
		var e entry
		if json.Unmarshal([]byte(line), &e) != nil || e.Level == "error" && e.Component != "worker" {
			failures++
		}
	}
	if failures != 1 || !strings.Contains(all[len(all)-1], with) {
		c.t.Errorf("want one error line, the last, with %q:\n%s", with, p.logText())
	}
}

// testCoordinatorKilled: the ring goes on while the coordinator is away, and the same command takes
// the run up where the ring stands by then.
func testCoordinatorKilled(t *testing.T) {
	c := newCluster(t)
	args := []string{"--local-workers", "2", "--min-workers", "1", "--steps", "200", "--gradient-accumulation-steps", "5"}
	p := c.up("run", args...)
	p.committed(t, 10)
	workers := c.status().Nodes
	p.kill()
	recorded := len(c.epochs("run")[1])
	c.workersLog("run", "a step without a coordinator", func(e entry) bool { return e.Message == "step committed" && e.Step >= recorded+10 })
	again := c.up("run", args...)
	formed := again.event(t, "a generation", func(e entry) bool { return e.Message == "generation formed" })
	if formed.Step < recorded+10 || formed.WorldSize != 2 {
		t.Errorf("the generation after the return begins at step %d with %d ranks; the ring was at step %d or later, and has 2", formed.Step, formed.WorldSize, recorded+10)
	}
	status := c.status()
	for i, n := range status.Nodes {
		if n.Name != workers[i].Name || n.PID != workers[i].PID {
			t.Errorf("rank %d is %s with process %d, want the adopted %s, %d", i, n.Name, n.PID, workers[i].Name, workers[i].PID)
		}
	}
	if epoch.Count(status.Epoch) != 2 || status.Generation != 2 {
		t.Errorf("epoch %s, generation %d; want 2 and 2", epoch.String(status.Epoch), status.Generation)
	}
	c.ends(again)
	checkNothingRepeated(t, again.log.all())
	steps := c.epochs("run")
	if len(steps[1]) != formed.Step || len(steps[1])+len(steps[2]) != 200 {
		t.Errorf("the ledger has %d steps of epoch 1 and %d of epoch 2; the second began at step %d of 200", len(steps[1]), len(steps[2]), formed.Step)
	}
	c.coordinator("verify", "run")
	one := c.up("one", "--local-workers", "1", "--steps", "200", "--gradient-accumulation-steps", "5")
	c.ends(one)
	if got, want := c.report("run").CheckpointSHA256, c.report("one").CheckpointSHA256; got != want {
		t.Errorf("checkpoint %s, undisturbed %s", got, want)
	}
}

// testCoordinatorAway: all of training happens without a coordinator; steps and checkpoints are
// delivered when it is back. Other settings are refused.
func testCoordinatorAway(t *testing.T) {
	c := newCluster(t)
	p := c.up("run", "--local-workers", "2")
	p.committed(t, 5)
	p.kill()
	c.workersLog("run", "the last step", func(e entry) bool { return e.Message == "step committed" && e.Step == steps })
	c.fails(c.up("run", "--local-workers", "2", "--learning-rate", "1e-4"), "--learning-rate is 0.0001, but the unfinished run run in "+c.out+" has 0.001: continue that run as it is with --resume run, or start another one with another --run-id or --out")
	again := c.up("run", "--local-workers", "2")
	c.ends(again)
	checkNothingRepeated(t, again.log.all())
	c.checkSame("run")
	if n := len(c.epochs("run")[1]); n != steps {
		t.Errorf("%d steps of epoch 1, want all %d", n, steps)
	}
	saved, err := filepath.Glob(filepath.Join(c.out, "run", "checkpoints", "step-*"))
	if err != nil || len(saved) != 3 {
		t.Errorf("checkpoints %v, %v; want those of steps 20, 40 and 60", saved, err)
	}
}

// testOrphans: workers whose coordinator does not come back end by themselves, and say why.
func testOrphans(t *testing.T) {
	c := newCluster(t)
	p := c.up("run", "--local-workers", "2", "--coordinator-absence-limit", "3s")
	p.committed(t, 5)
	workers := c.status().Nodes
	p.kill()
	for _, n := range workers {
		c.workersLog("run", "word of the end of "+n.Name, func(e entry) bool {
			return e.Level == "error" && strings.Contains(e.Message, "the coordinator has been gone for 3s") && strings.Contains(e.Message, "--resume run")
		})
	}
	c.ends(c.resume("run")) // From the base, or a checkpoint that came in time.
	c.checkSame("run")
}

// testTakeover: a second coordinator of a run is refused, on the same folder and on a copy; it fences
// the first one on request, which then ends and leaves the workers alone.
func testTakeover(t *testing.T) {
	c := newCluster(t)
	first := c.up("run", "--local-workers", "2", "--steps", "1000")
	first.committed(t, 10)
	c.fails(c.up("run", "--local-workers", "2", "--steps", "1000"), fmt.Sprintf("by process %d; look at it with `coordinator status --out %s --run-id run`", first.cmd.Process.Pid, c.out))

	other := newCluster(t)
	signal(t, first.cmd.Process.Pid, syscall.SIGSTOP) // The copy is of one moment.
	err := os.CopyFS(filepath.Join(other.out, "run"), os.DirFS(filepath.Join(c.out, "run")))
	signal(t, first.cmd.Process.Pid, syscall.SIGCONT)
	if err != nil {
		t.Fatal(err)
	}
	copied := len(other.epochs("run")[1])
	first.committed(t, copied+20)
	other.fails(other.up("run", "--local-workers", "2", "--steps", "1000"), "is held by the living coordinator")
	second := other.up("run", "--local-workers", "2", "--steps", "1000", "--takeover")
	c.fails(first, "another coordinator has taken the run over")
	second.event(t, "a generation", func(e entry) bool { return e.Message == "generation formed" })
	other.ends(second)
	checkNothingRepeated(t, second.log.all())
	other.coordinator("verify", "run")
	if got := other.epochs("run"); len(got[1]) < copied+20 || len(got[2]) == 0 || len(got[1])+len(got[2]) != 1000 {
		t.Errorf("%d steps of epoch 1 and %d of epoch 2; want at least %d, some, and 1000 together", len(got[1]), len(got[2]), copied+20)
	}
}
