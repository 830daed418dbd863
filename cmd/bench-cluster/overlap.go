package main

import (
	"context"
	"fmt"

	"yohaku/internal/wire"
)

// overlap trains M with two workers, a micro-batch each: all of the ring's time is in the one pass that can hide it.
func overlap(ctx context.Context, o options, dir string) error {
	folder, err := model(dir, "step-M")
	if err != nil {
		return err
	}
	steps, err := cluster{coordinator: o.coordinator, dir: dir, id: "overlap", model: folder, workers: 2, steps: o.steps, microBatches: 2, items: 2}.run(ctx)
	if err != nil {
		return err
	}
	of := func(f func(wire.StepReport) float64) float64 {
		var x []float64
		for _, s := range steps {
			x = append(x, f(s))
		}
		return median(x)
	}
	step := of(func(s wire.StepReport) float64 { return s.DurationMS })
	ring := of(func(s wire.StepReport) float64 { return s.RingMS })
	exposed := of(func(s wire.StepReport) float64 { return s.RingExposedMS })
	share := of(func(s wire.StepReport) float64 { return s.RingExposedMS / s.RingMS })
	fmt.Printf("step of M, 2 workers of 1 thread, medians of %d steps: step %.1f ms; ring %.1f ms from its first bucket on, of which %.1f ms after the backward pass: %.1f %%\n",
		len(steps), step, ring, exposed, 100*share)
	return print(row{"cluster-step-M-2", "float32", step, "ms"}, row{"cluster-ring-M-2", "int32", ring, "ms"},
		row{"cluster-ring-exposed-M-2", "int32", exposed, "ms"}, row{"cluster-ring-exposed-share-M-2", "int32", share, "1"})
}
