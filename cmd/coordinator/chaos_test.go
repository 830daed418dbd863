//go:build unix

package main

import (
	"encoding/json"
	"flag"
	"os/exec"
	"strconv"
	"testing"

	"yohaku/coordinator/chaos"
)

var chaosFull = flag.Bool("chaos.full", false, "TestChaos: 200 steps, 10 kills, 3 joins, 2 freezes, a partition of ten seconds")

// hurting is what happens to a run.
type hurting struct {
	workers, steps int
	faults         []string
}

// TestChaos: `coordinator chaos` hurts a run, which ends on the checkpoint of one undisturbed worker.
func TestChaos(t *testing.T) {
	h := hurting{workers: 3, steps: 20, faults: []string{"--kill", "2", "--join", "1", "--freeze", "1", "--partition", "1",
		"--freeze-for", "3s", "--partition-for", "4s", "--pause", "500ms", "--seed", "1"}}
	if *chaosFull {
		h = hurting{workers: 9, steps: 200, faults: []string{"--kill", "10", "--join", "3", "--freeze", "2", "--partition", "1",
			"--freeze-for", "5s", "--partition-for", "10s", "--pause", "2s", "--seed", "1", "--replace=false"}}
	}
	c := newCluster(t)
	up := func(id string, workers, steps int) *process {
		return c.start("up", "--data", "pairs.parquet", "--model", "tiny-pipeline", "--steps", strconv.Itoa(steps), "--gradient-accumulation-steps", "20",
			"--train-batch-size", "4", "--learning-rate", "1e-3", "--checkpointing-steps", "50", "--threads", "1", "--no-eval", "--log-format", "json",
			"--out", c.out, "--run-id", id, "--local-workers", strconv.Itoa(workers))
	}
	p := up("run", h.workers, 100_000) // It is stopped when the faults are over, whatever step that is.
	p.committed(t, 3)
	r := c.chaos(h.faults...)
	p.committed(t, h.steps)
	c.coordinator("stop", "--run-id", "run")
	c.ends(p)
	checkNothingRepeated(t, p)
	hurt := c.report("run")
	checkChaos(t, r, hurt.Steps)

	c.ends(up("one", 1, hurt.Steps))
	if want := c.report("one"); hurt.CheckpointSHA256 != want.CheckpointSHA256 || hurt.Steps != want.Steps {
		t.Errorf("after %d steps the run has checkpoint %s, one undisturbed worker has %s after %d", hurt.Steps, hurt.CheckpointSHA256, want.CheckpointSHA256, want.Steps)
	}
	c.coordinator("verify", "run")
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
	for kind, m := range r.Medians {
		t.Logf("%s: detected after %.0f ms, resumed after %.0f ms (medians of %d)", kind, m.DetectMS, m.ResumeMS, m.N)
	}
	if !r.Recovered {
		t.Errorf("%d of %d faults", len(r.Faults), r.Planned)
	}
	t.Logf("%d steps", steps)
}
