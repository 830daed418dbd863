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

func newDDPM(c Config, steps int, _ SamplerOptions) (Sampler, error) {
	w, err := newWalk(c, steps, rounded(c.timesteps(steps)))
	if err != nil {
		return nil, err
	}
	return &ddpm{walk: w, fixedLarge: c.variance() == "fixed_large"}, nil
}

func checkDDPM(c Config, k *config.Checker) {
	checkClipping(c, k)
	// learned and learned_range need a network with twice the channels; fixed_large_log takes
	// the root of a negative number in diffusers.
	k.OneOf("variance_type", c.variance(), "fixed_small", "fixed_small_log", "fixed_large")
}

// variance is DDPM's variance_type.
func (c Config) variance() string {
	if c.VarianceType == nil {
		return "fixed_small"
	}
	return *c.VarianceType
}

func (d *ddpm) NeedsNoise(i int) bool { return d.timesteps[i] > 0 }

// Start returns d itself: a step needs nothing of the steps before.
func (d *ddpm) Start() Trajectory { return d }

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
		addNoise(x, sigma, noise)
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
