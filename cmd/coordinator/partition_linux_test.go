package main

import (
	"strconv"
	"testing"
	"time"
)

// linkDown is how long the link between the two machines is down.
const linkDown = 10 * time.Second

// TestLinkDown: the link to a worker on another machine is down for ten seconds. The others go on, the
// worker comes back, and the run ends on the checkpoint of one undisturbed worker.
func TestLinkDown(t *testing.T) {
	here, there := twoNamespaces(t)
	c := newCluster(t)
	args := func(id string, more ...string) []string {
		return append([]string{"up", "--data", "pairs.parquet", "--model", "tiny-pipeline", "--gradient-accumulation-steps", "20", "--train-batch-size", "4",
			"--learning-rate", "1e-3", "--checkpointing-steps", "50", "--threads", "1", "--no-eval", "--log-format", "json", "--out", c.out, "--run-id", id}, more...)
	}
	p := here.start(t, "coordinator", args("run", "--steps", "100000", "--listen", "10.213.7.1:0", "--local-workers", "2", "--min-workers", "3")...)
	addr, token, err := p.joinLine()
	if err != nil {
		t.Fatal(err)
	}
	w := there.start(t, "worker", "join", addr, "--token", token, "--name", "far", "--threads", "1", "--log-format", "json")
	c.reaches("run", 10)

	there.link(t, "down")
	down := time.Now()
	two := p.event(t, "generation of two", func(e entry) bool { return e.Message == "generation formed" && e.WorldSize == 2 })
	t.Logf("ring of the others %.2f s after the link went down, from step %d", time.Since(down).Seconds(), two.Step)
	c.reaches("run", two.Step+5)
	time.Sleep(time.Until(down.Add(linkDown)))
	there.link(t, "up")
	up := time.Now()
	three := p.event(t, "generation with the worker that was cut off", func(e entry) bool {
		return e.Message == "generation formed" && e.WorldSize == 3 && e.Generation > two.Generation
	})
	t.Logf("ring of all %.2f s after the link was up again, from step %d", time.Since(up).Seconds(), three.Step)
	c.reaches("run", three.Step+5)
	if err := p.interrupt(); err != nil {
		t.Fatal(err)
	}
	c.ends(p)
	c.ends(w)
	checkNothingRepeated(t, p.log.all())
	run := c.report("run")
	c.ends(c.start(args("one", "--steps", strconv.Itoa(run.Steps), "--local-workers", "1")...))
	if want := c.report("one"); run.CheckpointSHA256 != want.CheckpointSHA256 {
		t.Errorf("after %d steps the run has checkpoint %s, one undisturbed worker has %s", run.Steps, run.CheckpointSHA256, want.CheckpointSHA256)
	}
	c.coordinator("verify", "run")
}
