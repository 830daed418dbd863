// Command bench-cluster measures real runs of a whole cluster on this machine: a coordinator and workers of one thread
// each, started as a user would.
//
//	bench-cluster -overlap      how much of the ring's time is not hidden behind the backward pass, on the step of M
//	bench-cluster -straggler    the step of workers of speed 1 : 1 : ½ beside the ideal split (Linux, as root)
//
// It prints what it measured, and a line of JSON for each row.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"

	"yohaku/model/backend/cpu"
	"yohaku/model/bench"
)

// options are the flags.
type options struct {
	overlap, straggler bool
	coordinator        string
	steps              int
}

func main() {
	var o options
	flag.BoolVar(&o.overlap, "overlap", false, "measure what of the ring's time is not hidden, 2 workers on the step of M")
	flag.BoolVar(&o.straggler, "straggler", false, "measure the step of workers of speed 1 : 1 : 1/2, 20 micro-batches of S")
	flag.StringVar(&o.coordinator, "coordinator", beside("coordinator"), "the coordinator's program")
	flag.IntVar(&o.steps, "steps", 12, "steps of a run; the first third counts for nothing")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		stop()
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

// beside is a program in the folder of this one.
func beside(name string) string {
	self, err := os.Executable()
	if err != nil {
		return name
	}
	return filepath.Join(filepath.Dir(self), name)
}

func run(ctx context.Context, o options) error {
	if o.overlap == o.straggler {
		return fmt.Errorf("give one of -overlap and -straggler")
	}
	if o.steps < 3 {
		return fmt.Errorf("-steps must be at least 3, got %d", o.steps)
	}
	dir, err := os.MkdirTemp("", "bench-cluster-")
	if err != nil {
		return fmt.Errorf("create folder for runs: %w", err)
	}
	defer os.RemoveAll(dir) // Whatever is left there is of no use.
	fmt.Printf("machine: %s; load average %s\n", bench.Machine(), bench.Load())
	if o.overlap {
		return overlap(ctx, o, dir)
	}
	return straggler(ctx, o, dir)
}

// model writes the pipeline of a row of cmd/bench.
func model(dir, row string) (string, error) {
	be := cpu.New(1)
	defer be.Close()
	for _, w := range bench.Works() {
		if w.Work == row {
			folder := filepath.Join(dir, row)
			return folder, bench.WritePipeline(folder, w.Request, be)
		}
	}
	return "", fmt.Errorf("no row %s", row)
}

// row is a line of JSON.
type row struct {
	Work  string  `json:"work"`
	DType string  `json:"dtype"`
	Ours  float64 `json:"ours"`
	Unit  string  `json:"unit"`
}

func print(rows ...row) error {
	for _, r := range rows {
		line, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("encode row: %w", err)
		}
		if _, err := fmt.Println(string(line)); err != nil {
			return fmt.Errorf("write row: %w", err)
		}
	}
	return nil
}

func median(x []float64) float64 {
	x = slices.Sorted(slices.Values(x))
	return x[len(x)/2]
}
