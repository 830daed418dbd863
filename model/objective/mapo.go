package objective

import (
	"cmp"
	"errors"
	"fmt"
	"math"
)

// The two written forms of MaPO's loss.
const (
	ReferenceCode = "reference_code" // As in mapo-t2i/mapo, compute_loss.
	Paper         = "paper"          // As in arXiv:2406.06424v2, equations 6 to 8.
)

// The reference code's defaults.
const (
	DefaultBeta  = 0.1  // beta_mapo in ReferenceCode; Paper has no default.
	DefaultSNR   = 0.5  // snr_value
	DefaultScale = 1000 // T = num_train_timesteps
)

// ErrShape is returned when there are no pairs, or not as many winners as losers.
var ErrShape = errors.New("MaPO needs one loser for each winner, and at least one pair")

// Config names a form of the loss and its constants, all dimensionless.
type Config struct {
	Form  string  // ReferenceCode or Paper.
	Beta  float64 // beta_mapo: weight of the margin term in ReferenceCode, the paper's β in Paper.
	SNR   float64 // snr_value, the link's s. Read in ReferenceCode only; in Paper s is β.
	Scale float64 // T, the margin's scale. Read in ReferenceCode only; in Paper it is 1.
}

// Validate returns an error that names the key, the value and the rule when c is not usable.
func (c Config) Validate() error {
	switch c.Form {
	case Paper:
		return positive("beta_mapo", c.Beta, " (form paper has no default; the paper's best: preference 8, culture 32, safety 64, style 64, personalization 1024)")
	case ReferenceCode:
		return cmp.Or(
			positive("beta_mapo", c.Beta, fmt.Sprintf(" (default %v)", DefaultBeta)),
			positive("snr_value", c.SNR, fmt.Sprintf(" (default %v)", DefaultSNR)),
			positive("num_train_timesteps", c.Scale, fmt.Sprintf(" (default %d)", DefaultScale)))
	}
	return fmt.Errorf("form must be %s or %s, got %q", ReferenceCode, Paper, c.Form)
}

func positive(key string, v float64, hint string) error {
	if v > 0 && !math.IsInf(v, 0) {
		return nil
	}
	return fmt.Errorf("%s must be a finite number above 0, got %v%s", key, v, hint)
}

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

// Pair is what the loss is for one pair, and its derivatives.
type Pair struct {
	LogOdds float64 // f(w) − f(l), positive when the winner fits better.
	Ratio   float64 // weight·log σ(T·LogOdds), at most 0; the reference code's ratio_losses.
	Loss    float64 // w − Ratio
	GradW   float64 // dLoss/dw
	GradL   float64 // dLoss/dl
}

// Pair computes the loss of one pair from its winner's and loser's denoising errors w and l,
// each averaged over C×H×W and not below 0. NaN gives NaN. It does not allocate.
//
//	reference_code: f(m) = s·m/(exp(s·m)−1),  Loss = w − β·log σ(T·(f(w)−f(l)))
//	paper:          φ(m) = β·m/(exp(β·m)−1),  Loss = w − (1/β)·log σ(φ(w)−φ(l))
//
// c must be valid. Source: see the package comment.
func (c Config) Pair(w, l float64) Pair {
	s, weight, scale := c.constants()
	odds := link(s*w) - link(s*l)
	ratio := weight * logSigmoid(scale*odds)
	pull := weight * sigmoid(-scale*odds) * scale * s
	return Pair{
		LogOdds: odds, Ratio: ratio, Loss: w - ratio,
		GradW: 1 - pull*linkSlope(s*w),
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
		p := c.Pair(w[i], l[i])
		r.Pairs[i], r.GradW[i], r.GradL[i] = p, p.GradW, p.GradL
		r.Sum += p.Loss
	}
	r.Mean = r.Sum / float64(len(w))
	return r, nil
}
