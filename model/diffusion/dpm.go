package diffusion

import (
	"fmt"
	"math"
	"slices"
	"sort"

	"yohaku/internal/assert"
	"yohaku/model/config"
)

// Algorithms of DPM-Solver.
const (
	dpmSolver   = "dpmsolver"       // Integrates the noise.
	dpmSolverPP = "dpmsolver++"     // Integrates the clean sample.
	sdeSolverPP = "sde-dpmsolver++" // The same with noise added at each step.
)

// dpm is DPM-Solver with the predictions of up to two steps before.
//
// Source: Lu et al., arXiv:2206.00927 and arXiv:2211.01095; diffusers DPMSolverMultistepScheduler.
type dpm struct {
	ladder
	kind      string // prediction_type.
	algorithm string
	steps     []dpmStep
}

// dpmStep holds the numbers of one step:
//
//	x ← keep·x + d0·m₀ + d1·D₁ + d2·D₂ + noise·ε
//
// ε is fresh noise, m₀ what the step's prediction implies, D₁ and D₂ its first and second
// differences with those of the steps before, by log(α/σ).
type dpmStep struct {
	order                   int
	alpha, sigma            float32 // Of x before the step.
	keep, d0, d1, d2, noise float32
	inverse                 [2]float32 // 1/r₀ and 1/r₁ of the differences; h·rᵢ is the width of a step before.
	bend, curve             float32    // r₀/(r₀+r₁) and 1/(r₀+r₁).
}

func checkDPM(c Config, k *config.Checker) {
	checkSigmas(c, k)
	k.OneOf("algorithm_type", c.AlgorithmType, dpmSolver, dpmSolverPP, sdeSolverPP)
	k.OneOf("solver_type", c.SolverType, "midpoint", "heun")
	k.Range("solver_order", c.SolverOrder, 1, 3)
	k.That(c.AlgorithmType != sdeSolverPP || c.SolverOrder < 3, "solver_order", c.SolverOrder, "algorithm_type sde-dpmsolver++ has 1 and 2 only")
	k.Null("variance_type", c.VarianceType == nil, c.VarianceType) // learned ones need a network with twice the channels.
	k.That(c.AlgorithmType != dpmSolver || c.FinalSigmasType == "sigma_min", "final_sigmas_type", c.FinalSigmasType, "algorithm_type dpmsolver needs sigma_min")
}

func newDPM(c Config, steps int, _ SamplerOptions) (Sampler, error) {
	schedule, table := c.noised()
	timesteps := c.dpmTimesteps(steps, schedule)
	if len(timesteps) == 0 {
		return nil, fmt.Errorf("%s: lambda_min_clipped %v leaves no timestep to sample at", c.Class, c.LambdaMinClipped)
	}
	levels := interpolate(floats(timesteps), table)
	if spread := c.spread(); spread != nil {
		levels = spread(float64(table[len(table)-1]), float64(table[0]), steps)
		timesteps = c.wholePlaces(levels, table)
	}
	l, err := newLadder(c, steps, timesteps, levels, table)
	if err != nil {
		return nil, err
	}
	d := &dpm{ladder: l, kind: c.PredictionType, algorithm: c.AlgorithmType}
	for i := range timesteps {
		d.steps = append(d.steps, d.step(i, c))
	}
	return d, nil
}

// wholePlaces are the timesteps of levels, rounded or, where diffusers does not round, cut.
func (c Config) wholePlaces(levels []float64, table []float32) []float64 {
	out := places(levels, table)
	if !isTrue(c.UseExponentialSigmas, false) && c.BetaSchedule != "squaredcos_cap_v2" {
		return rounded(out)
	}
	for i, t := range out {
		out[i] = math.Trunc(t)
	}
	return out
}

// dpmTimesteps are spaced unlike those of other classes: over one step more, without the last,
// and only where log(α/σ) is at least lambda_min_clipped.
func (c Config) dpmTimesteps(steps int, s *Schedule) []float64 {
	total := len(s.AlphasCumprod)
	total -= sort.Search(total, func(i int) bool {
		signal, noise := s.roots(total - 1 - i)
		return log32(signal)-log32(noise) >= float32(c.LambdaMinClipped)
	})
	if total == 0 {
		return nil
	}
	switch c.TimestepSpacing {
	case "leading":
		return descending(total/(steps+1), 1, steps+1, c.StepsOffset)
	case "trailing":
		return trailing(total, float64(c.NumTrainTimesteps)/float64(steps))
	}
	out := rounded(linspace(0, float64(total-1), steps+1))[1:]
	slices.Reverse(out)
	return out
}

func log32(x float32) float32 { return float32(math.Log(float64(x))) }
func exp32(x float32) float32 { return float32(math.Exp(float64(x))) }

// order returns the order of step i: lower at the start, and at the end as the config says.
func (d *dpm) order(i int, c Config) int {
	n := len(d.timesteps)
	few := c.LowerOrderFinal && n < 15
	switch {
	case i == n-1 && (c.EulerAtFinal || few || c.FinalSigmasType == "zero"):
		return 1
	case i == n-2 && few:
		return min(c.SolverOrder, i+1, 2)
	}
	return min(c.SolverOrder, i+1)
}

// signal returns α and σ of unit variance for a noise level.
func signal(level float32) (alpha, sigma float32) {
	alpha = 1 / sqrt32(float32(level*level)+1)
	return alpha, level * alpha
}

// lambda is log(α/σ) of a noise level.
func lambda(level float32) float32 {
	alpha, sigma := signal(level)
	return log32(alpha) - log32(sigma)
}

// step computes the numbers of step i.
func (d *dpm) step(i int, c Config) dpmStep {
	s := dpmStep{order: d.order(i, c)}
	s.alpha, s.sigma = signal(d.sigmas[i])
	h := lambda(d.sigmas[i+1]) - lambda(d.sigmas[i])
	if h == 0 { // The level is that of final_sigmas_type sigma_min already: nothing is left to do.
		return dpmStep{order: 1, alpha: s.alpha, sigma: s.sigma, keep: 1}
	}
	var r [2]float32
	for j := range s.order - 1 {
		r[j] = (lambda(d.sigmas[i-j]) - lambda(d.sigmas[i-j-1])) / h
		s.inverse[j] = 1 / r[j]
	}
	if s.order == 3 {
		s.bend, s.curve = r[0]/(r[0]+r[1]), 1/(r[0]+r[1])
	}
	s.weigh(c, h, d.sigmas[i+1])
	return s
}

// weigh sets the weights of a step of width h in log(α/σ) to the noise level next. With g the
// exponential's growth exp(w) − 1, D1 weighs ½·g (midpoint) or g/w − 1 (Heun, third order), and D2
// (g − w)/w² − ½, all times the same factor.
func (s *dpmStep) weigh(c Config, h, next float32) {
	alpha, sigma := signal(next)
	var scale, w float32
	switch c.AlgorithmType {
	case dpmSolverPP:
		s.keep, scale, w = sigma/s.sigma, -alpha, -h
	case dpmSolver:
		s.keep, scale, w = alpha/s.alpha, -sigma, h
	case sdeSolverPP:
		s.keep, scale, w = float32(sigma/s.sigma)*exp32(-h), -alpha, -2*h
		s.noise = sigma * sqrt32(max(0, 1-exp32(w)))
	}
	g := exp32(w) - 1
	s.d0, s.d1 = scale*g, 0.5*float32(scale*g)
	if s.order == 3 || c.SolverType == "heun" {
		s.d1 = scale * (g/w - 1)
	}
	s.d2 = scale * ((g-w)/float32(w*w) - 0.5)
}

func (d *dpm) InitNoiseSigma() float64 { return 1 }

func (d *dpm) ScaleModelInput(dst, x []float32, _ int) { copy(dst, x) }

func (d *dpm) NeedsNoise(i int) bool { return d.steps[i].noise > 0 }

func (d *dpm) Start() Trajectory { return &dpmWalk{dpm: d} }

// dpmWalk remembers what the predictions implied.
type dpmWalk struct {
	*dpm
	next    int
	history [3][]float32 // The newest first.
}

// Step sets x to the sample at the next noise level.
func (d *dpmWalk) Step(i int, prediction, x, noise []float32) {
	assert.That(i == d.next && i < len(d.steps), "step %d follows %d of %d", i, d.next, len(d.steps))
	d.next++
	s := d.steps[i]
	m := make([]float32, len(x))
	if d.algorithm == dpmSolver {
		toNoise(m, d.kind, prediction, x, s.alpha, s.sigma)
	} else {
		toOriginal(m, d.kind, prediction, x, s.alpha, s.sigma)
	}
	d.history = [3][]float32{m, d.history[0], d.history[1]}
	s.advance(x, d.history)
	if d.NeedsNoise(i) {
		addNoise(x, s.noise, noise)
	}
}

// advance applies the step to x, but for the noise.
func (s *dpmStep) advance(x []float32, m [3][]float32) {
	for j, v := range x {
		v = float32(s.keep*v) + float32(s.d0*m[0][j])
		switch s.order {
		case 2:
			v += float32(s.d1 * float32(s.inverse[0]*(m[0][j]-m[1][j])))
		case 3:
			near, far := s.inverse[0]*(m[0][j]-m[1][j]), s.inverse[1]*(m[1][j]-m[2][j])
			v += float32(s.d1 * (near + float32(s.bend*(near-far))))
			v += float32(s.d2 * float32(s.curve*(near-far)))
		}
		x[j] = v
	}
}
