package diffusion

import "fmt"

// ddim is implicit sampling.
//
// Source: Song et al., arXiv:2010.02502, equations 12 and 16; diffusers DDIMScheduler.step.
type ddim struct {
	walk
	eta   float32
	final float32 // ᾱ after the last step.
	back  int     // Timesteps from one step to the next.
}

func newDDIM(c Config, w walk, o SamplerOptions) (Sampler, error) {
	if !(o.Eta >= 0 && o.Eta <= 1) {
		return nil, fmt.Errorf("eta must be between 0 and 1, got %v", o.Eta)
	}
	d := &ddim{walk: w, eta: float32(o.Eta), final: 1, back: c.NumTrainTimesteps / w.steps}
	if !c.SetAlphaToOne {
		d.final = w.schedule.AlphasCumprod[0]
	}
	return d, nil
}

func (d *ddim) NeedsNoise(int) bool { return d.eta > 0 }

// Step sets x to √ᾱ_prev·x₀ + √(1−ᾱ_prev−σ²)·ε + σ·noise.
func (d *ddim) Step(i int, prediction, x, noise []float32) {
	t := d.timesteps[i]
	bar, prev := d.schedule.AlphasCumprod[t], d.final
	if t >= d.back {
		prev = d.schedule.AlphasCumprod[t-d.back]
	}
	variance := float32((1-prev)/(1-bar)) * (1 - bar/prev)
	sigma := float32(d.eta * sqrt32(variance))
	direction := sqrt32(max(0, 1-prev-float32(sigma*sigma)))

	x0, epsilon := make([]float32, len(x)), make([]float32, len(x))
	d.original(x0, prediction, x, t)
	d.epsilon(epsilon, prediction, x, t)
	root := sqrt32(prev)
	for j := range x {
		x[j] = float32(root*d.clipped(x0[j])) + float32(direction*epsilon[j])
	}
	if d.eta > 0 {
		for j, n := range noise[:len(x)] {
			x[j] += float32(sigma * n)
		}
	}
}

// epsilon sets dst to the noise that a prediction implies for the noisy x.
func (d *ddim) epsilon(dst, prediction, x []float32, t int) {
	a, b := d.schedule.roots(t)
	switch d.schedule.PredictionType {
	case Epsilon:
		copy(dst, prediction)
	case VPrediction:
		mix(dst, a, prediction, b, x)
	default:
		for j, x0 := range prediction {
			dst[j] = (x[j] - float32(a*x0)) / b
		}
	}
}
