//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"yohaku/coordinator/chaos"
	"yohaku/coordinator/runstore"
)

var chaosFull = flag.Bool("chaos.full", false, "TestChaos: 200 steps, 10 kills, 3 joins, 2 freezes, a killed coordinator, a partition of ten seconds")

// hurting is what happens to a run: rounds of faults by the command and, between them, a link that is cut.
type hurting struct {
	workers, steps int
	rounds         [][]string
	far            machine
}

// machine is another one: a network namespace, linked to the one that the coordinator is in.
type machine struct {
	here  []string // Runs a command on the coordinator's machine.
	start func(args ...string) *process
	link  func(state string)
}

// cutFor is how long the link is down.
const cutFor = 10 * time.Second

// full is what the proof asks for.
func full(t *testing.T) hurting {
	every := []string{"--freeze-for", "5s", "--partition-for", "10s", "--pause", "2s", "--replace=false"}
	far, why := otherMachine(t)
	if why != "" {
		t.Logf("no worker is on another machine and no link is cut, %s: a worker is deaf by an order instead", why)
		return hurting{workers: 9, steps: 200, rounds: [][]string{
			append([]string{"--kill", "10", "--join", "3", "--freeze", "2", "--partition", "1", "--coordinator-kill", "1", "--seed", "1"}, every...)}}
	}
	return hurting{workers: 9, steps: 200, far: far, rounds: [][]string{ // Two of the three that join are on the other machine.
		append([]string{"--kill", "5", "--join", "1", "--freeze", "1", "--coordinator-kill", "1", "--seed", "1"}, every...),
		append([]string{"--kill", "5", "--freeze", "1", "--seed", "2"}, every...)}}
}

// TestChaos: `coordinator chaos` hurts a run, which ends on the checkpoint of one undisturbed worker.
func TestChaos(t *testing.T) {
	h := hurting{workers: 3, steps: 20, rounds: [][]string{{"--kill", "2", "--join", "1", "--freeze", "1", "--partition", "1", "--coordinator-kill", "1",
		"--freeze-for", "3s", "--partition-for", "4s", "--pause", "500ms", "--seed", "1"}}}
	if *chaosFull {
		h = full(t)
	}
	c := newCluster(t)
	c.prefix = h.far.here
	up := func(id string, workers, steps int, more ...string) *process {
		t.Cleanup(func() { c.abandon(id) })
		return c.start(append([]string{"up", "--data", "pairs.parquet", "--model", "tiny-pipeline", "--steps", strconv.Itoa(steps), "--gradient-accumulation-steps", "20",
			"--train-batch-size", "4", "--learning-rate", "1e-3", "--checkpointing-steps", "50", "--threads", "1", "--no-eval", "--log-format", "json",
			"--out", c.out, "--run-id", id, "--local-workers", strconv.Itoa(workers), "--coordinator-absence-limit", "1m"}, more...)...)
	}
	var listen []string
	if h.far.link != nil {
		listen = []string{"--listen", addrHere}
	}
	p := up("run", h.workers, 100_000, listen...) // It is stopped when the faults are over, whatever step that is.
	p.committed(t, 3)
	var reports []chaos.Report
	for i, faults := range h.rounds {
		if i > 0 {
			c.cutLink(h.far, p)
		}
		reports = append(reports, c.chaos(faults...))
	}
	c.until(fmt.Sprintf("the run is at step %d", h.steps), runLimit, func() bool { return c.status().Step >= h.steps })
	c.coordinator("stop", "--run-id", "run")
	c.released("run")
	p.wait(runLimit) // Killed long ago.
	checkNothingRepeated(t, lines(t, filepath.Join(c.out, "run", "coordinator.log")))
	checkNothingRepeated(t, p.log.all())
	hurt := c.report("run")
	for _, r := range reports {
		checkChaos(t, r, hurt.Steps)
	}

	c.ends(up("one", 1, hurt.Steps))
	if want := c.report("one"); hurt.CheckpointSHA256 != want.CheckpointSHA256 || hurt.Steps != want.Steps {
		t.Errorf("after %d steps the run has checkpoint %s, one undisturbed worker has %s after %d", hurt.Steps, hurt.CheckpointSHA256, want.CheckpointSHA256, want.Steps)
	}
	c.coordinator("verify", "run")
}

// cutLink has two workers of the other machine join, cuts the link to it, and mends it.
func (c *cluster) cutLink(far machine, p *process) {
	c.t.Helper()
	addr, token, err := p.joinLine()
	if err != nil {
		c.t.Fatal(err)
	}
	last := func() entry { return c.formed("a generation", func(entry) bool { return true }) }
	before := last()
	for _, name := range []string{"far-1", "far-2"} {
		far.start("join", addr, "--token", token, "--name", name, "--threads", "1", "--log-format", "json", "--allow-chaos")
	}
	all := c.formed("a generation with the workers of the other machine", func(e entry) bool { return e.WorldSize == before.WorldSize+2 })
	c.reaches("run", all.Step+5)

	far.link("down")
	down := time.Now()
	rest := c.formed("a generation without them", func(e entry) bool { return e.Generation > all.Generation && e.WorldSize == before.WorldSize })
	formed := time.Since(down)
	c.reaches("run", rest.Step+1)
	c.t.Logf("the link is down at step %d: next ring %.2f s later, first step of it %.2f s later", rest.Step, formed.Seconds(), time.Since(down).Seconds())
	time.Sleep(time.Until(down.Add(cutFor)))
	far.link("up")
	up := time.Now()
	back := c.formed("a generation with them again", func(e entry) bool { return e.Generation > rest.Generation && e.WorldSize == before.WorldSize+2 })
	c.t.Logf("the link is up again: both are back %.2f s later, from step %d", time.Since(up).Seconds(), back.Step)
	c.reaches("run", back.Step+2)
}

// reaches waits until the ledger of a run has the step.
func (c *cluster) reaches(id string, step int) {
	c.t.Helper()
	path := filepath.Join(c.out, id, "ledger.jsonl")
	c.until(fmt.Sprintf("run %s has reached step %d", id, step), eventTimeout, func() bool {
		data, err := os.ReadFile(path)
		return err == nil && bytes.Count(data, []byte("\n")) >= step
	})
}

// formed waits until the last generation that the log of a coordinator started anew tells of is one that is accepted.
func (c *cluster) formed(what string, accept func(entry) bool) (last entry) {
	c.t.Helper()
	path := filepath.Join(c.out, "run", "coordinator.log")
	c.until(what+" is the last in "+path, runLimit, func() bool {
		found := false
		for _, line := range lines(c.t, path) {
			var e entry
			if json.Unmarshal([]byte(line), &e) == nil && e.Message == "generation formed" {
				last, found = e, true
			}
		}
		return found && accept(last)
	})
	return last
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
	words := append(append(slices.Clone(c.prefix), "coordinator", "chaos", "--json", "--out", c.out), args...)
	cmd := exec.Command(words[0], words[1:]...)
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
