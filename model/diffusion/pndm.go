package diffusion

import (
	"fmt"
	"slices"

	"yohaku/internal/assert"
	"yohaku/model/config"
)

// pndmOrder is how many predictions a PLMS step combines, and how many spacings the Runge–Kutta
// steps before it cover.
const pndmOrder = 4

// pndm samples with pseudo linear multistep steps (PLMS). They begin with a half-informed step
// that is taken twice or, unless skip_prk_steps, with three spacings of four Runge–Kutta steps (PRK).
//
// Source: Liu et al., arXiv:2202.09778, equations 9, 12 and 13; diffusers PNDMScheduler.
type pndm struct {
	walk
	prk  int     // The first steps are PRK.
	last float32 // ᾱ after the last step.
}

func checkPNDM(c Config, k *config.Checker) {
	k.That(!c.RescaleBetasZeroSNR, "rescale_betas_zero_snr", true, "diffusers' PNDMScheduler has no such key; sample with another class")
}

func newPNDM(c Config, steps int, _ SamplerOptions) (Sampler, error) {
	base := rounded(c.timesteps(steps))
	timesteps, prk := repeated(base), 0
	if !c.SkipPRKSteps {
		if len(base) < pndmOrder {
			return nil, fmt.Errorf("%s: without skip_prk_steps sampling needs at least %d steps, got %d", c.Class, pndmOrder, steps)
		}
		head := rungeKutta(base[:pndmOrder], c.NumTrainTimesteps/steps/2)
		timesteps, prk = append(head, base[pndmOrder-1:]...), len(head)
	}
	w, err := newWalk(c, steps, timesteps)
	if err != nil {
		return nil, err
	}
	p := &pndm{walk: w, prk: prk, last: w.final(isTrue(c.SetAlphaToOne, false))}
	return p, p.checkSecond(c, steps)
}

// checkSecond refuses a repeated step that would start after the schedule's end.
func (p *pndm) checkSecond(c Config, steps int) error {
	if p.prk > 0 || len(p.timesteps) < 2 {
		return nil
	}
	return c.checkVisit(steps, []float32{float32(p.timesteps[1] + p.back)})
}

// repeated visits the second timestep twice.
func repeated(timesteps []float64) []float64 {
	if len(timesteps) < 2 {
		return timesteps
	}
	return slices.Insert(slices.Clone(timesteps), 1, timesteps[1])
}

// rungeKutta returns the timesteps of PRK: t, twice the middle, twice the next t, …, without the
// last one's second half.
func rungeKutta(timesteps []float64, half int) []float64 {
	var points []float64 // The visited places in order.
	for i, t := range timesteps {
		if i > 0 {
			points = append(points, t+float64(half))
		}
		points = append(points, t)
	}
	var out []float64
	for i, t := range points {
		out = append(out, t)
		if i > 0 && i < len(points)-1 {
			out = append(out, t)
		}
	}
	return out
}

func (p *pndm) NeedsNoise(int) bool { return false }

func (p *pndm) Start() Trajectory { return &pndmWalk{pndm: p} }

// pndmWalk remembers predictions.
type pndmWalk struct {
	*pndm
	next    int
	history [][]float32 // The newest last, at most pndmOrder.
	start   []float32   // The sample that the running PRK spacing, or the repeated step, began with.
	sum     []float32   // The running PRK spacing's weighted predictions.
}

func (p *pndmWalk) Step(i int, prediction, x, _ []float32) {
	assert.That(i == p.next && i < len(p.timesteps), "step %d follows %d of %d", i, p.next, len(p.timesteps))
	p.next++
	if i < p.prk {
		p.stepPRK(i, prediction, x)
	} else {
		p.stepPLMS(i, prediction, x)
	}
}

// stepPRK is one of the four evaluations of Runge and Kutta's method, weighed 1/6, 1/3, 1/3, 1/6.
// All four begin from the sample of the first.
func (p *pndmWalk) stepPRK(i int, prediction, x []float32) {
	third, sixth := float32(1.0/3), float32(1.0/6)
	from, to := p.timesteps[i/4*4], p.timesteps[i]
	if i%2 == 0 {
		to -= p.back / 2
	}
	e := prediction
	switch i % 4 {
	case 0:
		p.sum = make([]float32, len(x))
		p.start = slices.Clone(x)
		p.history = append(p.history, slices.Clone(e))
		addNoise(p.sum, sixth, e)
	case 1, 2:
		addNoise(p.sum, third, e)
	case 3:
		addNoise(p.sum, sixth, e)
		e = p.sum
	}
	p.transfer(x, p.start, e, from, to)
}

// stepPLMS combines the last predictions.
func (p *pndmWalk) stepPLMS(i int, prediction, x []float32) {
	t := p.timesteps[i]
	if i == 1 && p.prk == 0 {
		p.stepAgain(t, prediction, x)
		return
	}
	if i == 0 {
		p.start = slices.Clone(x)
	}
	p.history = append(p.history[max(0, len(p.history)-pndmOrder+1):], slices.Clone(prediction))
	p.transfer(x, x, combine(p.history), t, t-p.back)
}

// stepAgain takes the first step, to timestep t, again: with the mean of the predictions at its
// start and its end.
func (p *pndmWalk) stepAgain(t int, prediction, x []float32) {
	mean := make([]float32, len(x))
	for j, e := range prediction {
		mean[j] = (e + p.history[0][j]) / 2
	}
	p.transfer(x, p.start, mean, t+p.back, t)
}

// combine is the Adams–Bashforth combination of one to four predictions, the newest last.
func combine(history [][]float32) []float32 {
	n := len(history)
	out := make([]float32, len(history[0]))
	for j := range out {
		e := func(back int) float32 { return history[n-back][j] }
		switch n {
		case 1:
			out[j] = e(1)
		case 2:
			out[j] = (float32(3*e(1)) - e(2)) / 2
		case 3:
			out[j] = (float32(23*e(1)) - float32(16*e(2)) + float32(5*e(3))) / 12
		default:
			out[j] = float32(1.0/24) * (float32(55*e(1)) - float32(59*e(2)) + float32(37*e(3)) - float32(9*e(4)))
		}
	}
	return out
}

// transfer sets dst to the sample at timestep to, from the sample and its noise at timestep from:
// equation 9. dst may be sample.
func (p *pndmWalk) transfer(dst, sample, prediction []float32, from, to int) {
	bar, prev := p.schedule.AlphasCumprod[from], p.lookup(to, p.last)
	beta, betaPrev := 1-bar, 1-prev
	scale := sqrt32(prev / bar)
	denominator := float32(bar*sqrt32(betaPrev)) + sqrt32(float32(bar*beta)*prev)
	e := make([]float32, len(sample))
	a, b := p.schedule.roots(from)
	toNoise(e, p.schedule.PredictionType, prediction, sample, a, b)
	for j, x := range sample {
		dst[j] = float32(scale*x) - float32((prev-bar)*e[j])/denominator
	}
}
