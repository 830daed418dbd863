package diffusion

import (
	"fmt"
	"math"
	"slices"
	"sort"

	"yohaku/model/config"
)

// ladder is what the samplers share that work on noise levels σ = √((1−ᾱ)/ᾱ): Euler's and
// DPM-Solver.
type ladder struct {
	timesteps []float32
	sigmas    []float32 // σ before each step, and that after the last.
}

// almostNoise stands for ᾱ = 0 of a schedule of zero terminal SNR, whose σ would be infinite.
const almostNoise = 1.0 / (1 << 24)

// noised returns c's schedule with ᾱ above 0, and σ of each of its timesteps.
func (c Config) noised() (*Schedule, []float32) {
	s := c.Schedule()
	if c.RescaleBetasZeroSNR {
		s.AlphasCumprod[len(s.AlphasCumprod)-1] = almostNoise
	}
	sigmas := make([]float32, len(s.AlphasCumprod))
	for i, a := range s.AlphasCumprod {
		sigmas[i] = sqrt32((1 - a) / a)
	}
	return s, sigmas
}

// newLadder appends the last σ, and refuses levels that do not descend from one step to the next.
func newLadder(c Config, steps int, timesteps, levels []float64, table []float32) (ladder, error) {
	l := ladder{timesteps: floats(timesteps), sigmas: floats(levels)}
	if err := c.checkVisit(steps, l.timesteps); err != nil {
		return l, err
	}
	for i, s := range l.sigmas {
		if !(s > 0) || math.IsInf(float64(s), 1) || i > 0 && s >= l.sigmas[i-1] {
			return l, fmt.Errorf("%s: %d steps give noise level %d the sigma %v, which must be above 0, finite and below the one before; use fewer steps", c.Class, steps, i, s)
		}
	}
	final := float32(0)
	if c.FinalSigmasType == "sigma_min" {
		final = table[0]
	}
	l.sigmas = append(l.sigmas, final)
	return l, nil
}

func (l *ladder) Timesteps() []float32 { return slices.Clone(l.timesteps) }

// checkSigmas holds the rules for the keys that choose noise levels.
func checkSigmas(c Config, k *config.Checker) {
	k.That(!isTrue(c.UseBetaSigmas, false), "use_beta_sigmas", true, "not supported when sampling; supported: false")
	k.That(!isTrue(c.UseKarrasSigmas, false) || !isTrue(c.UseExponentialSigmas, false), "use_exponential_sigmas", true, "must be false with use_karras_sigmas")
	k.OneOf("final_sigmas_type", c.FinalSigmasType, "zero", "sigma_min")
	k.That(c.SigmaMin == nil || *c.SigmaMin > 0, "sigma_min", c.SigmaMin, "must be above 0")
	k.That(c.SigmaMax == nil || *c.SigmaMax > 0, "sigma_max", c.SigmaMax, "must be above 0")
}

// interpolate returns table, whose entry t stands at t, at the places x; beyond its ends their value.
func interpolate(x []float32, table []float32) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		at := min(max(float64(v), 0), float64(len(table)-1))
		low := int(at)
		out[i] = float64(table[low])
		if rest := at - float64(low); rest > 0 {
			out[i] += float64((float64(table[low+1]) - out[i]) * rest)
		}
	}
	return out
}

// spread returns the function that places levels between a first and a last one, nil for levels
// that follow from the timesteps.
func (c Config) spread() func(first, last float64, n int) []float64 {
	switch {
	case isTrue(c.UseKarrasSigmas, false):
		return karras
	case isTrue(c.UseExponentialSigmas, false), c.Class == "DPMSolverMultistepScheduler" && isTrue(c.UseLuLambdas, false):
		return exponential // Lu's levels are even in log(α/σ), which is −log σ.
	}
	return nil
}

// karras returns n levels from first to last, evenly spaced in σ^(1/7).
//
// Source: Karras et al., arXiv:2206.00364, equation 5.
func karras(first, last float64, n int) []float64 {
	const rho = 7.0
	high, low := math.Pow(first, 1/rho), math.Pow(last, 1/rho)
	out := linspace(0, 1, n)
	for i, ramp := range out {
		out[i] = math.Pow(high+float64(ramp*(low-high)), rho)
	}
	return out
}

// exponential returns n levels from first to last, evenly spaced in log σ.
func exponential(first, last float64, n int) []float64 {
	out := linspace(math.Log(first), math.Log(last), n)
	for i, l := range out {
		out[i] = math.Exp(l)
	}
	return out
}

// places returns the timesteps at which table, which ascends, reaches the levels: log σ is
// interpolated in float64 between float32 logarithms, as diffusers' _sigma_to_t does.
func places(levels []float64, table []float32) []float64 {
	logs := make([]float32, len(table))
	for i, s := range table {
		logs[i] = float32(math.Log(float64(s)))
	}
	out := make([]float64, len(levels))
	for i, level := range levels {
		at := math.Log(max(level, 1e-10))
		above := sort.Search(len(logs), func(j int) bool { return float64(logs[j]) > at })
		low := max(0, min(above-1, len(logs)-2))
		high := min(low+1, len(logs)-1)
		w := (float64(logs[low]) - at) / float64(logs[low]-logs[high])
		w = min(max(w, 0), 1)
		out[i] = float64((1-w)*float64(low)) + float64(w*float64(high))
	}
	return out
}
