//go:build unix

package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"yohaku/coordinator/chaos"
	"yohaku/coordinator/runstore"
)

var chaosFull = flag.Bool("chaos.full", false, "TestChaos: 200 steps, 10 kills, 3 joins, 2 freezes, a killed coordinator, a partition of ten seconds")

// hurting is what happens to a run.
type hurting struct {
	workers, steps int
	faults         []string
}

// TestChaos: `coordinator chaos` hurts a run, which ends on the checkpoint of one undisturbed worker.
func TestChaos(t *testing.T) {
	h := hurting{workers: 3, steps: 20, faults: []string{"--kill", "2", "--join", "1", "--freeze", "1", "--partition", "1", "--coordinator-kill", "1",
		"--freeze-for", "3s", "--partition-for", "4s", "--pause", "500ms", "--seed", "1"}}
	if *chaosFull {
		h = hurting{workers: 9, steps: 200, faults: []string{"--kill", "10", "--join", "3", "--freeze", "2", "--partition", "1", "--coordinator-kill", "1",
			"--freeze-for", "5s", "--partition-for", "10s", "--pause", "2s", "--seed", "1", "--replace=false"}}
	}
	c := newCluster(t)
	up := func(id string, workers, steps int) *process {
		t.Cleanup(func() { c.abandon(id) })
		return c.start("up", "--data", "pairs.parquet", "--model", "tiny-pipeline", "--steps", strconv.Itoa(steps), "--gradient-accumulation-steps", "20",
			"--train-batch-size", "4", "--learning-rate", "1e-3", "--checkpointing-steps", "50", "--threads", "1", "--no-eval", "--log-format", "json",
			"--out", c.out, "--run-id", id, "--local-workers", strconv.Itoa(workers), "--coordinator-absence-limit", "1m")
	}
	p := up("run", h.workers, 100_000) // It is stopped when the faults are over, whatever step that is.
	p.committed(t, 3)
	r := c.chaos(h.faults...)
	c.until(fmt.Sprintf("the run is at step %d", h.steps), runLimit, func() bool { return c.status().Step >= h.steps })
	c.coordinator("stop", "--run-id", "run")
	c.released("run")
	p.wait(runLimit) // Killed long ago.
	checkNothingRepeated(t, lines(t, filepath.Join(c.out, "run", "coordinator.log")))
	checkNothingRepeated(t, p.log.all())
	hurt := c.report("run")
	checkChaos(t, r, hurt.Steps)

	c.ends(up("one", 1, hurt.Steps))
	if want := c.report("one"); hurt.CheckpointSHA256 != want.CheckpointSHA256 || hurt.Steps != want.Steps {
		t.Errorf("after %d steps the run has checkpoint %s, one undisturbed worker has %s after %d", hurt.Steps, hurt.CheckpointSHA256, want.CheckpointSHA256, want.Steps)
	}
	c.coordinator("verify", "run")
}

// released waits until no coordinator has the run.
func (c *cluster) released(id string) {
	c.t.Helper()
	c.until("the coordinator of "+id+", asked to stop, has ended", runLimit, func() bool {
		s, err := runstore.Inspect(filepath.Join(c.out, id))
		if err != nil {
			c.t.Fatal(err)
		}
		return !s.Held
	})
}

// abandon kills what is left of a run that failed: its coordinator may not be a child of the test.
func (c *cluster) abandon(id string) {
	s, err := runstore.Inspect(filepath.Join(c.out, id))
	if err == nil && s.Held {
		_ = syscall.Kill(s.PID, syscall.SIGKILL) // It may have ended. Its workers end without one.
	}
}

// chaos runs the command and reads its report.
func (c *cluster) chaos(args ...string) chaos.Report {
	c.t.Helper()
	cmd := exec.Command("coordinator", append([]string{"chaos", "--json", "--out", c.out}, args...)...)
	cmd.Stderr = c.t.Output()
	out, err := cmd.Output()
	if err != nil {
		c.t.Fatalf("coordinator chaos: %v\n%s", err, out)
	}
	var r chaos.Report
	if err := json.Unmarshal(out, &r); err != nil {
		c.t.Fatal(err)
	}
	return r
}

// checkChaos: every fault was done, noticed and recovered from.
func checkChaos(t *testing.T, r chaos.Report, steps int) {
	t.Helper()
	for _, o := range r.Faults {
		if !o.Recovered || o.StepsAgain > 0 || o.DetectMS == nil || o.ResumeMS == nil {
			t.Errorf("fault %+v, want it noticed and recovered from without a step again", o)
		}
	}
	for _, o := range r.Faults {
		if o.Fault == chaos.CoordinatorKill && o.StepsMeanwhile == 0 {
			t.Errorf("fault %+v, want steps while the coordinator was away", o)
		}
	}
	var table strings.Builder
	if err := r.Print(&table); err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s", table.String())
	if !r.Recovered {
		t.Errorf("%d of %d faults", len(r.Faults), r.Planned)
	}
	t.Logf("%d steps", steps)
}
