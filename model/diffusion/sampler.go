package diffusion

import (
	"fmt"
	"math"
	"slices"

	"yohaku/model/config"
)

// Sampler walks from noise to a sample. It is immutable and may be shared.
//
//	x ← noise · InitNoiseSigma
//	for i, t := range Timesteps: Step(i, network(x, t), x, fresh noise when NeedsNoise(i))
type Sampler interface {
	Timesteps() []int                           // What the network is told at each step, in order.
	InitNoiseSigma() float64                    // Standard deviation that x starts with.
	ScaleModelInput(dst, x []float32, i int)    // dst = the network's input at step i for x; dst may be x.
	NeedsNoise(i int) bool                      // Whether Step i reads its noise.
	Step(i int, prediction, x, noise []float32) // x becomes the sample after step i. noise is unit normal.
}

// SamplerOptions are arguments of sampling that are not in the scheduler's file.
type SamplerOptions struct {
	Eta float64 // DDIM's η in [0, 1]: 0 is deterministic, 1 adds DDPM's noise.
}

// SamplerClasses lists the scheduler classes that NewSampler takes.
func SamplerClasses() []string { return []string{"DDIMScheduler", "DDPMScheduler"} }

// NewSampler returns the sampler of c's class for that many steps. An unsupported class or value
// is an error that names it.
func NewSampler(c Config, steps int, o SamplerOptions) (Sampler, error) {
	if !slices.Contains(SamplerClasses(), c.Class) {
		return nil, fmt.Errorf("%w: %q; supported: %v (training takes any class with betas)", errNoSampler, c.Class, SamplerClasses())
	}
	if steps < 1 || steps > c.NumTrainTimesteps {
		return nil, fmt.Errorf("sampling steps must be between 1 and num_train_timesteps = %d, got %d", c.NumTrainTimesteps, steps)
	}
	k := config.Checker{Class: c.Class}
	k.OneOf("timestep_spacing", c.TimestepSpacing, "leading", "trailing", "linspace")
	k.That(!c.Thresholding, "thresholding", true, "not supported when sampling; supported: false")
	k.That(!c.ClipSample || c.ClipSampleRange > 0, "clip_sample_range", c.ClipSampleRange, "must be above 0")
	k.That(c.StepsOffset >= 0, "steps_offset", c.StepsOffset, "must be at least 0")
	if err := k.Err(); err != nil {
		return nil, err
	}
	w := walk{schedule: c.Schedule(), timesteps: c.timesteps(steps), steps: steps, clip: float32(math.Inf(1))}
	if c.ClipSample {
		w.clip = float32(c.ClipSampleRange)
	}
	if err := w.check(c); err != nil {
		return nil, err
	}
	if c.Class == "DDPMScheduler" {
		return newDDPM(c, w)
	}
	return newDDIM(c, w, o)
}

// walk is what the samplers share.
type walk struct {
	schedule  *Schedule
	timesteps []int
	steps     int
	clip      float32 // x₀ is clipped to [−clip, clip].
}

func (w *walk) Timesteps() []int        { return slices.Clone(w.timesteps) }
func (w *walk) InitNoiseSigma() float64 { return 1 }

func (w *walk) ScaleModelInput(dst, x []float32, _ int) { copy(dst, x) }

// check refuses timesteps that the schedule does not have, or cannot be inverted at.
func (w *walk) check(c Config) error {
	for _, t := range w.timesteps {
		if t < 0 || t >= c.NumTrainTimesteps {
			return fmt.Errorf("%s: %d steps with timestep_spacing %s and steps_offset %d visit timestep %d, outside 0 to %d; use fewer steps",
				c.Class, w.steps, c.TimestepSpacing, c.StepsOffset, t, c.NumTrainTimesteps-1)
		}
		if c.PredictionType == Epsilon && w.schedule.AlphasCumprod[t] == 0 {
			return fmt.Errorf("%s: prediction_type %s has no image at timestep %d, which is pure noise (rescale_betas_zero_snr); use %s", c.Class, Epsilon, t, VPrediction)
		}
	}
	return nil
}

// timesteps returns the steps' timesteps, from noise to image. The arithmetic is numpy's.
//
// Source: Lin et al., arXiv:2305.08891, table 2; diffusers DDPMScheduler.set_timesteps.
func (c Config) timesteps(steps int) []int {
	var out []int
	total := float64(c.NumTrainTimesteps)
	switch c.TimestepSpacing {
	case "linspace":
		out = append(out, 0)
		for i := 1; i < steps; i++ {
			out = append(out, int(math.RoundToEven(float64(i)*((total-1)/float64(steps-1)))))
		}
		slices.Reverse(out)
	case "leading":
		for i := steps - 1; i >= 0; i-- {
			out = append(out, i*(c.NumTrainTimesteps/steps)+c.StepsOffset)
		}
	case "trailing": // np.arange(total, 0, −ratio), whose length and spacing are float64 results.
		ratio := total / float64(steps)
		spacing := (total - ratio) - total
		for i := range int(math.Ceil(total / ratio)) {
			out = append(out, int(math.RoundToEven(total+float64(i)*spacing))-1)
		}
	}
	return out
}

// original sets x0 to the clean sample that a prediction at ᾱ_t implies for the noisy x.
func (w *walk) original(x0, prediction, x []float32, t int) {
	a, b := w.schedule.roots(t)
	switch w.schedule.PredictionType {
	case Epsilon:
		for i, p := range prediction {
			x0[i] = (x[i] - float32(b*p)) / a
		}
	case VPrediction:
		mix(x0, a, x, -b, prediction)
	default:
		copy(x0, prediction)
	}
}

func (w *walk) clipped(x float32) float32 { return min(max(x, -w.clip), w.clip) }
