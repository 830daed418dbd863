package main

import (
	"context"
	"fmt"

	"yohaku/internal/wire"
)

// Of a processor, for workers of speed 1 and ½. Together they leave most of two processors to the coordinator and to whoever else is there.
const (
	fast = 0.4
	slow = 0.2
)

// straggler trains S with workers of speed 1 : 1 : ½ and 20 micro-batches, and each kind alone.
func straggler(ctx context.Context, o options, dir string) error {
	folder, err := model(dir, "step-S")
	if err != nil {
		return err
	}
	const microBatches = 20
	c := cluster{coordinator: o.coordinator, dir: dir, model: folder, microBatches: microBatches, items: 1}
	rate := map[float64]float64{} // Micro-batches a second.
	for _, quota := range []float64{fast, slow} {
		alone := c
		alone.id, alone.workers, alone.steps, alone.quotas = fmt.Sprintf("alone-%.0f", 100*quota), 1, 3, []float64{quota}
		steps, err := alone.run(ctx)
		if err != nil {
			return err
		}
		rate[quota] = microBatches * 1000 / median(durations(steps))
		fmt.Printf("alone, with %.2f of a processor: %.2f micro-batches a second\n", quota, rate[quota])
	}
	c.id, c.workers, c.steps, c.quotas = "together", 3, o.steps, []float64{fast, fast, slow}
	steps, err := c.run(ctx)
	if err != nil {
		return err
	}
	for _, s := range steps {
		fmt.Printf("step %2d: %.0f ms, shares %v\n", s.Step, s.DurationMS, s.Shares)
	}
	ideal := microBatches * 1000 / (2*rate[fast] + rate[slow])
	got := median(durations(steps))
	fmt.Printf("together: %.0f ms a step, median of %d; ideal split %.0f ms; ratio %.3f\n", got, len(steps), ideal, got/ideal)
	return print(row{"cluster-straggler-step", "float32", got, "ms"}, row{"cluster-straggler-ideal", "float32", ideal, "ms"},
		row{"cluster-straggler-over-ideal", "float32", got / ideal, "1"})
}

func durations(steps []wire.StepReport) []float64 {
	var x []float64
	for _, s := range steps {
		x = append(x, s.DurationMS)
	}
	return x
}
