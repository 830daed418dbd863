package optim

import (
	"fmt"
	"math"
	"testing"

	"yohaku/internal/golden"
)

func TestGoldenLearningRates(t *testing.T) {
	golden.Run(t, "11_lr_schedules", func(t *testing.T, c *golden.Case) {
		var args struct {
			LR     float64 `json:"lr"`
			Total  int     `json:"num_training_steps"`
			Cycles int     `json:"num_cycles"`
			Power  float64 `json:"power"`
			Warm   []int   `json:"warmups"`
			Steps  int     `json:"steps"`
		}
		c.Args(t, &args)
		outputs := c.Outputs(t)
		for _, name := range Schedules() {
			for _, warm := range args.Warm {
				key := fmt.Sprintf("%s.warm%d", name, warm)
				want, err := outputs.Float64s(key)
				if err != nil {
					t.Fatal(err)
				}
				rate, err := LearningRate(name, Config{args.LR, warm, args.Total, args.Cycles, args.Power})
				if err != nil {
					t.Fatal(err)
				}
				if len(want) != args.Steps {
					t.Fatalf("%s: %d steps, want %d", key, len(want), args.Steps)
				}
				for step, w := range want {
					if got := rate(step); !(math.Abs(got-w) <= c.MaxAbs(t, key)) {
						t.Errorf("%s, step %d: got %v, want %v", key, step, got, w)
					}
				}
			}
		}
	})
}
