// Command bench times the engine beside PyTorch: kernels, and the whole MaPO training step as a worker takes it. It
// prints a table and a line of JSON for each row. See yohaku/model/bench for how the two sides take turns.
//
//	bench -bench 'conv|step-S'      rows whose work/dtype matches
//	bench -bench step-L             minutes, and 17 GB of memory
//	bench -bench step -profile DIR  what each instruction of a step takes, without a peer
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/debug"

	"yohaku/model/bench"
	"yohaku/model/kernel"
)

// options are the flags.
type options struct {
	pattern, venv, profile string
	turns, threads         int
	serve, list            bool

	ring, serveRing     bool
	ringRank, ringWorld int
	ringRoute           string

	full, folder, memory string
	lora                 int
	bf16                 bool
}

func main() {
	var o options
	flag.StringVar(&o.pattern, "bench", "", "rows whose work/dtype match this regular expression; large ones only if nothing else matches")
	flag.StringVar(&o.venv, "venv", venv(), "Python environment with torch and diffusers, by default YOHAKU_VENV or .venv; without one, ours alone is timed")
	flag.StringVar(&o.profile, "profile", "", "write a profile of the matching steps to this folder instead of comparing: STEP.txt, a table of instructions, STEP.trace.json for chrome://tracing or ui.perfetto.dev, and STEP.pprof")
	flag.IntVar(&o.turns, "turns", 7, "counted turns of each side")
	flag.IntVar(&o.threads, "threads", 2, "threads of each side")
	flag.BoolVar(&o.list, "list", false, "list the rows and end")
	flag.BoolVar(&o.serve, "serve", false, "be our side: answer requests on standard input")
	flag.StringVar(&o.full, "full", "", "load this published UNet, sd15 or sdxl, from random weights and take one step at 512×512, instead of comparing")
	flag.StringVar(&o.folder, "folder", "", "with -full: the folder of the random weights, made if missing (3.4 GB for sd15, 5.1 GB for sdxl)")
	flag.StringVar(&o.memory, "memory-limit", "24GiB", "with -full: bound of the process's memory")
	flag.IntVar(&o.lora, "lora", 0, "with -full: train adapters of this rank instead of the UNet")
	flag.BoolVar(&o.bf16, "bf16", false, "with -full: mixed precision")
	flag.BoolVar(&o.ring, "ring", false, "time the ring beside Gloo and OpenMPI instead of the engine beside PyTorch")
	flag.BoolVar(&o.serveRing, "serve-ring", false, "be our side of the ring: answer requests on standard input")
	flag.IntVar(&o.ringRank, "ring-rank", -1, "be this rank of our side")
	flag.IntVar(&o.ringWorld, "ring-world", 0, "with -ring-rank: the number of ranks")
	flag.StringVar(&o.ringRoute, "ring-route", "", "with -ring-rank: route of rank 0")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		stop()
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func venv() string {
	if v := os.Getenv("YOHAKU_VENV"); v != "" {
		return v
	}
	return ".venv"
}

func run(ctx context.Context, o options) error {
	if err := kernel.CheckSet(); err != nil {
		return err
	}
	if o.turns < 1 || o.threads < 1 {
		return fmt.Errorf("-turns and -threads must be at least 1, got %d and %d", o.turns, o.threads)
	}
	if o.serve {
		return bench.Serve(os.Stdin, os.Stdout, o.threads, map[string]bench.Maker{"step": makeStep})
	}
	switch {
	case o.serveRing:
		return serveRing(os.Stdin, os.Stdout, o.profile)
	case o.ringRank >= 0:
		return serveRingRank(os.Stdin, os.Stdout, o)
	}
	if o.full != "" {
		return fullSize(o)
	}
	pattern, err := regexp.Compile(o.pattern)
	if err != nil {
		return fmt.Errorf("-bench: %w", err)
	}
	if o.ring {
		return compareRing(ctx, o, pattern)
	}
	works, left := bench.Select(bench.Works(), pattern)
	if len(works) == 0 {
		return fmt.Errorf("-bench %q matches no row; -list shows them", o.pattern)
	}
	switch {
	case o.list:
		return list(append(works, left...))
	case o.profile != "":
		return profileSteps(o, works)
	}
	return compare(ctx, o, works, left)
}

func list(works []bench.Work) error {
	for _, w := range works {
		if _, err := fmt.Println(w.ID()); err != nil {
			return fmt.Errorf("write list: %w", err)
		}
	}
	return nil
}

// compare prints the table as it grows, and then the lines of JSON, also when a row fails.
func compare(ctx context.Context, o options, works, left []bench.Work) (err error) {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	c := &bench.Comparison{Ours: bench.Self(self, o.threads), Turns: o.turns}
	defer func() {
		if closed := c.Close(); err == nil {
			err = closed
		}
	}()
	if err := introduce(ctx, o, c); err != nil {
		return err
	}
	for _, w := range left {
		fmt.Printf("left out, for it takes minutes and most of a machine's memory: %s (BENCH=%s)\n", w.ID(), w.Work)
	}
	if err := bench.Header(os.Stdout); err != nil {
		return err
	}
	var results []bench.Result
	defer func() {
		conclude(results)
		for _, r := range results {
			if written := r.WriteJSON(os.Stdout); err == nil {
				err = written
			}
		}
	}()
	for _, w := range works {
		r, err := c.Run(ctx, w)
		if err != nil {
			return fmt.Errorf("time %s: %w", w.ID(), err)
		}
		if err := r.WriteRow(os.Stdout); err != nil {
			return err
		}
		if r.PeerError != nil {
			fmt.Printf("  %s: ours alone: %v\n", w.ID(), r.PeerError)
		}
		results = append(results, r)
	}
	return nil
}

// conclude says what the rows are worth.
func conclude(results []bench.Result) {
	busy := 0
	for _, r := range results {
		if r.Busy() {
			busy++
		}
	}
	fmt.Printf("\nload average at the end %s\n", bench.Load())
	if busy > 0 {
		fmt.Printf("the machine was not idle: other processes took part of it in %d of %d rows, whose times and ratios say little\n", busy, len(results))
	}
}

// introduce says who is compared on what, and finds the peer.
func introduce(ctx context.Context, o options, c *bench.Comparison) error {
	python, missing := findPython(o.venv)
	if missing == nil {
		c.Peer = bench.Peer(python, o.threads)
	}
	us, them, failed, err := c.About(ctx)
	if err != nil {
		return err
	}
	if missing == nil {
		missing = failed
	}
	if missing != nil {
		them = fmt.Sprintf("none, so ours alone is timed: %v (make bench-deps, or set YOHAKU_VENV)", missing)
	}
	fmt.Printf("machine: %s; load average %s\ncommit:  %s\nours:    %s\npeer:    %s\n", bench.Machine(), bench.Load(), commit(), us, them)
	fmt.Printf("medians of %d turns of each side, taken alternately; ratio = peer's time / ours; others = processors busy with other processes\n", o.turns)
	return nil
}

// findPython is the interpreter of a virtual environment.
func findPython(venv string) (string, error) {
	p := filepath.Join(venv, "bin", "python")
	if runtime.GOOS == "windows" {
		p = filepath.Join(venv, "Scripts", "python.exe")
	}
	p, err := filepath.Abs(p)
	if err != nil {
		return "", err
	}
	_, err = os.Stat(p)
	return p, err
}

// commit is what go build noted of the repository.
func commit() string {
	revision, dirty := "unknown (use go build)", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				revision = s.Value
			case s.Key == "vcs.modified" && s.Value == "true":
				dirty = ", with changes"
			}
		}
	}
	return revision + dirty
}
