//go:build unix

package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"yohaku/cmd/internal/cli"
	"yohaku/worker"
	"yohaku/worker/trainstep"
)

// faultyWorker joins as a worker whose memory fails once. Its arguments are the address, the
// token, what fails, and the step (from 0) from which on: a rank may have nothing to compute in one.
func faultyWorker(args []string) int {
	at, err := strconv.Atoi(args[3])
	log := cli.Logger(os.Stderr, "json")
	if err == nil {
		err = worker.Run(context.Background(), worker.Options{
			Addr: args[0], Token: args[1], Name: "faulty", Device: "cpu", Threads: 1, Version: cli.Version(), Log: log,
			Fault: fault(args[2], at, func(step int) { log.Info().Int("step", step).Msg("a bit flips") }),
		})
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		return 1
	}
	return 0
}

// fault flips one bit, once, and tells in which step.
func fault(what string, at int, tell func(step int)) worker.Fault {
	done := false
	once := func(step int, x *float32) {
		if step >= at && !done {
			done = true
			tell(step)
			*x = math.Float32frombits(math.Float32bits(*x) ^ 1<<20)
		}
	}
	switch what {
	case "parameter":
		return worker.Fault{Compute: func(step int, t *trainstep.Trainer) { once(step, &t.Params()[3].Data[1]) }}
	case "moment":
		return worker.Fault{Compute: func(step int, t *trainstep.Trainer) { once(step, &t.State().M[5]) }}
	case "update":
		return worker.Fault{Update: func(step int, t *trainstep.Trainer) { once(step, &t.State().V[5]) }}
	case "nan":
		return worker.Fault{Gradient: func(step, _, tensor int, grad []float32) {
			if step == at && tensor == 2 {
				grad[0] = float32(math.NaN())
			}
		}}
	case "gradient":
		return worker.Fault{Gradient: func(step, _, tensor int, grad []float32) {
			if tensor == 2 {
				once(step, &grad[0])
			}
		}}
	}
	return worker.Fault{}
}

// testBitFlips: whichever bit flips, it is found in that step, the machine is named, and the run
// ends as if nothing had happened.
func testBitFlips(t *testing.T) {
	for _, tc := range []struct {
		what  string
		local int
		parts string
		again bool // The steps since the checkpoint are computed again.
		flags []string
	}{
		{"parameter", 2, "parameters", false, nil},
		{"parameter", 1, "parameters", false, nil},
		{"moment", 2, "first moments", false, nil},
		{"update", 2, "second moments", false, nil},
		{"update", 1, "second moments", true, nil},
		{"gradient", 2, "gradient", false, []string{"--audit-ratio", "1"}},
		{"gradient", 1, "gradient", false, []string{"--audit-ratio", "1"}},
		{"gradient", 0, "gradient", false, []string{"--audit-ratio", "1"}},
	} {
		t.Run(fmt.Sprintf("%s of one in %d", tc.what, tc.local+1), func(t *testing.T) {
			c := newCluster(t)
			p := c.up("run", append(tc.flags, "--local-workers", strconv.Itoa(tc.local), "--min-workers", strconv.Itoa(tc.local+1))...)
			addr, token, err := p.joinLine()
			if err != nil {
				t.Fatal(err)
			}
			w := c.command("faulty", addr, token, tc.what, "30")
			at := w.event(t, "the flip", func(e entry) bool { return e.Message == "a bit flips" }).Step
			put := p.event(t, "word of the wrong state", func(e entry) bool { return strings.Contains(e.Message, "put out; it gets the state anew") })
			if put.Level != "error" || !strings.HasPrefix(put.Node, "faulty-") || put.Step < at || put.Step > at+1 || put.Parts != tc.parts && !tc.again {
				t.Errorf("%+v, want an error that names the faulty node, step %d and its %s", put, at, tc.parts)
			}
			c.ends(p)
			c.ends(w)
			c.checkSame("run")
			again := strings.Contains(p.logText(), "going back to the last checkpoint")
			if again != tc.again {
				t.Errorf("went back to the checkpoint: %v, want %v", again, tc.again)
			}
		})
	}
}

// nonFinite runs with workers whose gradients of one step are not finite.
func nonFinite(t *testing.T, policy string, workers int) (*cluster, *process) {
	t.Helper()
	c := newCluster(t)
	p := c.up("run", "--nonfinite-policy", policy, "--local-workers", "0", "--min-workers", strconv.Itoa(workers))
	addr, token, err := p.joinLine()
	if err != nil {
		t.Fatal(err)
	}
	for range workers {
		c.command("faulty", addr, token, "nan", "30")
	}
	named := regexp.MustCompile(`"level":"error".*"step":31,.*gradient of \S+ in micro-batch \d: \(pair \d+, timestep \d+\)`)
	if _, err := p.log.wait("an error that names pair and timestep", named.MatchString); err != nil {
		t.Fatalf("%v; log:\n%s", err, p.logText())
	}
	return c, p
}

// testNonFinite: the step is left out everywhere alike, or the run ends with a checkpoint of it.
func testNonFinite(t *testing.T) {
	c, p := nonFinite(t, "skip", 1)
	c.ends(p)
	want := c.report("run").CheckpointSHA256
	c, p = nonFinite(t, "skip", 3)
	c.ends(p)
	if got := c.report("run").CheckpointSHA256; got != want || got == reference.CheckpointSHA256 {
		t.Errorf("checkpoint %s with three workers, %s with one; want the same, and not that of the undisturbed run", got, want)
	}
	c, p = nonFinite(t, "halt", 2)
	if code := p.wait(runLimit); code != 1 {
		t.Fatalf("exit code %d, want 1:\n%s", code, p.logText())
	}
	halted := func(line string) bool { return strings.Contains(line, "step 31 is halted: the gradient of ") }
	if _, err := p.log.wait("a word of the halt", halted); err != nil {
		t.Errorf("%v; log:\n%s", err, p.logText())
	}
	p = c.resume("run", "--local-workers", "1", "--min-workers", "1")
	p.event(t, "the checkpoint of the halt", func(e entry) bool { return e.Message == "continuing from checkpoint" && e.Step == 31 })
	c.ends(p)
	if got := c.report("run").CheckpointSHA256; got != want {
		t.Errorf("resumed after the halt: checkpoint %s, want %s", got, want)
	}
}
