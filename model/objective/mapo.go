package objective

import (
	"errors"
	"fmt"
)

// ErrShape is returned when there are no pairs, or not as many winners as losers.
var ErrShape = errors.New("MaPO needs one loser for each winner, and at least one pair")

// constants returns the link's s, the weight of the margin term and the margin's scale T:
//
//	L = w − weight·log σ(T·(g(s·w) − g(s·l))),  g(x) = x/(exp(x)−1)
//
// which is either form.
func (c Config) constants() (s, weight, scale float64) {
	if c.Form == Paper {
		return c.Beta, 1 / c.Beta, 1
	}
	return c.SNR, c.Beta, c.Scale
}

func (c Config) mapo(w, l float64, t Terms) Pair {
	s, weight, scale := c.constants()
	odds := link(s*w) - link(s*l)
	ratio := weight * logSigmoid(scale*odds)
	pull := t.Margin * weight * sigmoid(-scale*odds) * scale * s
	return Pair{
		LogOdds: odds, Ratio: ratio, Loss: t.Weight*w - t.Margin*ratio,
		GradW: t.Weight - pull*linkSlope(s*w),
		GradL: pull * linkSlope(s*l),
	}
}

// Result is the loss of a batch. The gradients are those of Sum; divide by the number of pairs
// for those of Mean.
type Result struct {
	Sum, Mean    float64
	Pairs        []Pair
	GradW, GradL []float64
}

// MaPO returns the loss of B pairs (dimensionless). w and l, both [B], are the winners' and
// losers' denoising errors; a pair shares one noise draw and one timestep.
//
//	Sum  = Σ Loss(wᵢ, lᵢ), see Config.Pair, added in order
//	Mean = Sum/B, the reference code's loss
//
// It returns ErrShape when B is 0 or the lengths differ, and Validate's error.
func MaPO(w, l []float64, c Config) (Result, error) {
	if err := c.Validate(); err != nil {
		return Result{}, err
	}
	if len(w) == 0 || len(w) != len(l) {
		return Result{}, fmt.Errorf("%w, got %d and %d", ErrShape, len(w), len(l))
	}
	r := Result{Pairs: make([]Pair, len(w)), GradW: make([]float64, len(w)), GradL: make([]float64, len(w))}
	for i := range w {
		p := c.Pair(w[i], l[i], Plain)
		r.Pairs[i], r.GradW[i], r.GradL[i] = p, p.GradW, p.GradL
		r.Sum += p.Loss
	}
	r.Mean = r.Sum / float64(len(w))
	return r, nil
}
