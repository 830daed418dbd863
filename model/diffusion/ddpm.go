package diffusion

import (
	"math"

	"yohaku/model/config"
)

// ddpm is ancestral sampling.
//
// Source: Ho et al., arXiv:2006.11239, algorithm 2 and equation 7; diffusers DDPMScheduler.step.
type ddpm struct {
	walk
	fixedLarge bool
}

func newDDPM(c Config, w walk) (Sampler, error) {
	variance := "fixed_small"
	if c.VarianceType != nil {
		variance = *c.VarianceType
	}
	k := config.Checker{Class: c.Class}
	// learned and learned_range need a network with twice the channels; fixed_large_log takes
	// the root of a negative number in diffusers.
	k.OneOf("variance_type", variance, "fixed_small", "fixed_small_log", "fixed_large")
	return &ddpm{walk: w, fixedLarge: variance == "fixed_large"}, k.Err()
}

func (d *ddpm) NeedsNoise(i int) bool { return d.timesteps[i] > 0 }

// previous returns ᾱ at the step after i, 1 after the last.
func (d *ddpm) previous(i int) float32 {
	if i+1 < len(d.timesteps) {
		return d.schedule.AlphasCumprod[d.timesteps[i+1]]
	}
	return 1
}

// Step sets x to μ(x₀, x) + σ·noise.
func (d *ddpm) Step(i int, prediction, x, noise []float32) {
	t := d.timesteps[i]
	bar, prev := d.schedule.AlphasCumprod[t], d.previous(i)
	beta, betaPrev := 1-bar, 1-prev
	alpha := bar / prev
	toOriginal := float32(sqrt32(prev)*(1-alpha)) / beta
	toCurrent := float32(sqrt32(alpha)*betaPrev) / beta
	sigma := d.sigma(1-alpha, beta, betaPrev)

	x0 := make([]float32, len(x))
	d.original(x0, prediction, x, t)
	for j, xj := range x {
		x[j] = float32(toOriginal*d.clipped(x0[j])) + float32(toCurrent*xj)
	}
	if d.NeedsNoise(i) {
		for j, n := range noise[:len(x)] {
			x[j] += float32(sigma * n)
		}
	}
}

// sigma returns the noise's standard deviation: √β_t for fixed_large, otherwise that of the
// posterior, √(β_t·(1−ᾱ_{t−1})/(1−ᾱ_t)).
func (d *ddpm) sigma(current, beta, betaPrev float32) float32 {
	if d.fixedLarge {
		return sqrt32(current)
	}
	return sqrt32(max(float32(betaPrev/beta)*current, float32(math.Pow(10, -20))))
}
