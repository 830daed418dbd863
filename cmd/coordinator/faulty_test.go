//go:build unix

package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"testing"

	"yohaku/cmd/internal/cli"
	"yohaku/worker"
	"yohaku/worker/trainstep"
)

// faultyWorker joins as a worker whose memory fails once. Its arguments are the address, the
// token, what fails and the step (from 0).
func faultyWorker(args []string) int {
	at, err := strconv.Atoi(args[3])
	if err == nil {
		err = worker.Run(context.Background(), worker.Options{
			Addr: args[0], Token: args[1], Name: "faulty", Device: "cpu", Threads: 1, Version: cli.Version(), Log: cli.Logger(os.Stderr, "json"),
			Fault: fault(args[2], at),
		})
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "error: %v\n", err)
		return 1
	}
	return 0
}

// fault flips one bit, once, when step at is under way.
func fault(what string, at int) worker.Fault {
	done := false
	once := func(step int, x *float32) {
		if step == at && !done {
			done = true
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
	}{
		{"parameter", 2, "parameters", false},
		{"parameter", 1, "parameters", false},
		{"moment", 2, "first moments", false},
		{"update", 2, "second moments", false},
		{"update", 1, "second moments", true},
	} {
		t.Run(fmt.Sprintf("%s of one in %d", tc.what, tc.local+1), func(t *testing.T) {
			c := newCluster(t)
			p := c.up("run", "--local-workers", strconv.Itoa(tc.local), "--min-workers", strconv.Itoa(tc.local+1))
			addr, token, err := p.joinLine()
			if err != nil {
				t.Fatal(err)
			}
			const at = 30
			w := c.command("faulty", addr, token, tc.what, strconv.Itoa(at))
			put := p.event(t, "word of the wrong state", func(e entry) bool { return strings.Contains(e.Message, "held a wrong state, put out") })
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
