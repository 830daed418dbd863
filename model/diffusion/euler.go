package diffusion

import "yohaku/model/config"

// euler follows the probability flow's ODE with Euler's method, x + (x − x₀)/σ · Δσ; x is a sample
// plus σ times noise, not scaled to unit variance.
//
// Source: Karras et al., arXiv:2206.00364, algorithm 2 without churn; diffusers
// EulerDiscreteScheduler and EulerAncestralDiscreteScheduler.
type euler struct {
	ladder
	kind      string // prediction_type.
	initial   float64
	ancestral bool // Steps go below the next level, and noise brings x back up to it.
}

func checkEuler(c Config, k *config.Checker) {
	checkSigmas(c, k)
	k.OneOf("interpolation_type", c.InterpolationType, "linear")
	k.OneOf("timestep_type", c.TimestepType, "discrete")
}

func newEuler(c Config, steps int, _ SamplerOptions) (Sampler, error) {
	_, table := c.noised()
	timesteps := c.timesteps(steps)
	levels := interpolate(floats(timesteps), table)
	first, last := levels[0], levels[len(levels)-1]
	if c.SigmaMax != nil {
		first = *c.SigmaMax
	}
	if c.SigmaMin != nil {
		last = *c.SigmaMin
	}
	if spread := c.spread(); spread != nil {
		levels = spread(first, last, steps)
		timesteps = places(levels, table)
	}
	return c.euler(steps, timesteps, levels, table, false)
}

func newEulerAncestral(c Config, steps int, _ SamplerOptions) (Sampler, error) {
	_, table := c.noised()
	timesteps := c.timesteps(steps)
	c.FinalSigmasType = "zero" // The class has no other.
	return c.euler(steps, timesteps, interpolate(floats(timesteps), table), table, true)
}

// euler makes the sampler for these levels. Samples start with the greatest level's noise; the
// spacing that leaves out the last timestep adds a unit of variance for the image.
func (c Config) euler(steps int, timesteps, levels []float64, table []float32, ancestral bool) (Sampler, error) {
	l, err := newLadder(c, steps, timesteps, levels, table)
	if err != nil {
		return nil, err
	}
	initial := l.sigmas[0]
	if c.TimestepSpacing == "leading" {
		initial = sqrt32(float32(initial*initial) + 1)
	}
	return &euler{ladder: l, kind: c.PredictionType, initial: float64(initial), ancestral: ancestral}, nil
}

func (e *euler) InitNoiseSigma() float64 { return e.initial }

// ScaleModelInput divides by √(σ²+1), which gives unit variance.
func (e *euler) ScaleModelInput(dst, x []float32, i int) {
	s := e.sigmas[i]
	root := sqrt32(float32(s*s) + 1)
	for j, v := range x {
		dst[j] = v / root
	}
}

func (e *euler) NeedsNoise(i int) bool { return e.ancestral && e.sigmas[i+1] > 0 }

// Start returns e itself: a step needs nothing of the steps before.
func (e *euler) Start() Trajectory { return e }

// Step sets x to x + (x − x₀)/σ·(σ_down − σ), and adds σ_up·noise when ancestral.
func (e *euler) Step(i int, prediction, x, noise []float32) {
	sigma := e.sigmas[i]
	down, up := e.split(i)
	x0 := make([]float32, len(x))
	e.original(x0, prediction, x, sigma)
	for j, v := range x {
		x[j] = v + float32(((v-x0[j])/sigma)*(down-sigma))
	}
	if e.NeedsNoise(i) {
		addNoise(x, up, noise)
	}
}

// split returns the level to step down to and the noise to add after step i: down² + up² is the
// next level squared.
func (e *euler) split(i int) (down, up float32) {
	from, to := e.sigmas[i], e.sigmas[i+1]
	if !e.ancestral {
		return to, 0
	}
	from2, to2 := float32(from*from), float32(to*to)
	up = sqrt32(float32(to2*(from2-to2)) / from2)
	return sqrt32(max(0, to2-float32(up*up))), up
}

// original sets x0 to the clean sample that a prediction implies for x.
func (e *euler) original(x0, prediction, x []float32, sigma float32) {
	variance := float32(sigma*sigma) + 1
	switch e.kind {
	case Epsilon:
		for j, p := range prediction {
			x0[j] = x[j] - float32(sigma*p)
		}
	case VPrediction:
		scale := -sigma / sqrt32(variance)
		for j, p := range prediction {
			x0[j] = float32(p*scale) + x[j]/variance
		}
	default:
		copy(x0, prediction)
	}
}
