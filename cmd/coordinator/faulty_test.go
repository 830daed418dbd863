//go:build unix

package main

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

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
