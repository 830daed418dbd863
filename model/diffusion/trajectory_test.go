package diffusion

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"testing"
)

// TestTrajectories holds the samplers to diffusers with settings that the golden cases lack:
// testdata/make_samplers.py says which, and what stands for network and noise.
func TestTrajectories(t *testing.T) {
	data, err := os.ReadFile("testdata/samplers.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Runs []struct {
			Config         json.RawMessage `json:"config"`
			Steps          int             `json:"steps"`
			InitNoiseSigma float64         `json:"init_noise_sigma"`
			Timesteps      []float32       `json:"timesteps"`
			Samples        []float32       `json:"samples"`
		} `json:"runs"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Runs) == 0 {
		t.Fatal("no runs")
	}
	for i, run := range file.Runs {
		c, err := ParseConfig(run.Config)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(fmt.Sprintf("%d_%s_%d", i, c.Class, run.Steps), func(t *testing.T) {
			s, err := NewSampler(c, run.Steps, SamplerOptions{})
			if err != nil {
				t.Fatal(err)
			}
			near(t, "timesteps", s.Timesteps(), run.Timesteps, 1e-4)
			near(t, "init_noise_sigma", []float32{float32(s.InitNoiseSigma())}, []float32{float32(run.InitNoiseSigma)}, 1e-6)
			got, worst := trajectory(s, run.Samples[:4]), 0.0
			largest := float64(max(slices.Max(run.Samples), -slices.Min(run.Samples)))
			for i, want := range run.Samples {
				worst = max(worst, math.Abs(float64(got[i]-want))/largest)
			}
			if !(worst <= 2e-6) {
				t.Errorf("error %.3g of the greatest sample %v, at most 2e-6 allowed\n%s\ngot  %v\nwant %v", worst, largest, run.Config, got, run.Samples)
			}
			t.Logf("error %.3g", worst)
		})
	}
}

// trajectory returns the samples from start to the last step.
func trajectory(s Sampler, start []float32) []float32 {
	x, walk := slices.Clone(start), s.Start()
	out := slices.Clone(x)
	input, prediction, noise := make([]float32, len(x)), make([]float32, len(x)), make([]float32, len(x))
	for i, at := range s.Timesteps() {
		s.ScaleModelInput(input, x, i)
		for j, v := range input {
			prediction[j] = float32(0.3*v) + float32(0.1*math.Sin(float64(at)))
			noise[j] = float32((5*i+3*j)%17-8) / 8
		}
		if s.NeedsNoise(i) {
			walk.Step(i, prediction, x, noise)
		} else {
			walk.Step(i, prediction, x, nil)
		}
		out = append(out, x...)
	}
	return out
}
