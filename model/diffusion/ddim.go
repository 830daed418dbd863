package diffusion

import "fmt"

// ddim is implicit sampling.
//
// Source: Song et al., arXiv:2010.02502, equations 12 and 16; diffusers DDIMScheduler.step.
type ddim struct {
	walk
	eta  float32
	last float32 // ᾱ after the last step.
}

func newDDIM(c Config, steps int, o SamplerOptions) (Sampler, error) {
	if !(o.Eta >= 0 && o.Eta <= 1) {
		return nil, fmt.Errorf("eta must be between 0 and 1, got %v", o.Eta)
	}
	w, err := newWalk(c, steps, rounded(c.timesteps(steps)))
	if err != nil {
		return nil, err
	}
	return &ddim{walk: w, eta: float32(o.Eta), last: w.final(isTrue(c.SetAlphaToOne, true))}, nil
}

func (d *ddim) NeedsNoise(int) bool { return d.eta > 0 }

// Start returns d itself: a step needs nothing of the steps before.
func (d *ddim) Start() Trajectory { return d }

// Step sets x to √ᾱ_prev·x₀ + √(1−ᾱ_prev−σ²)·ε + σ·noise.
func (d *ddim) Step(i int, prediction, x, noise []float32) {
	t := d.timesteps[i]
	bar, prev := d.schedule.AlphasCumprod[t], d.lookup(t-d.back, d.last)
	variance := float32((1-prev)/(1-bar)) * (1 - bar/prev)
	sigma := float32(d.eta * sqrt32(variance))
	direction := sqrt32(max(0, 1-prev-float32(sigma*sigma)))

	x0, epsilon := make([]float32, len(x)), make([]float32, len(x))
	d.original(x0, prediction, x, t)
	a, b := d.schedule.roots(t)
	toNoise(epsilon, d.schedule.PredictionType, prediction, x, a, b)
	root := sqrt32(prev)
	for j := range x {
		x[j] = float32(root*d.clipped(x0[j])) + float32(direction*epsilon[j])
	}
	if d.NeedsNoise(i) {
		addNoise(x, sigma, noise)
	}
}
