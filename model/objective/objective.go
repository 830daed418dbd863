package objective

import (
	"cmp"
	"fmt"
	"math"
)

// The losses. The first two are MaPO's two written forms.
const (
	ReferenceCode = "reference_code" // As in mapo-t2i/mapo, compute_loss.
	Paper         = "paper"          // As in arXiv:2406.06424v2, equations 6 to 8.
	DPO           = "dpo"            // Diffusion-DPO, against a frozen reference model.
	SFT           = "sft"            // Supervised fine-tuning: the winners alone.
)

// Defaults: of the reference code, and of diffusers' train_diffusion_dpo.py.
const (
	DefaultBeta    = 0.1  // beta_mapo in ReferenceCode; Paper has no default.
	DefaultBetaDPO = 5000 // beta_dpo
	DefaultSNR     = 0.5  // snr_value
	DefaultScale   = 1000 // T = num_train_timesteps
)

// Config names a loss and its constants, all dimensionless.
type Config struct {
	Form  string  // One of the losses above.
	Beta  float64 // beta_mapo: weight of the margin term in ReferenceCode, the paper's β in Paper. beta_dpo in DPO.
	SNR   float64 // snr_value, the link's s. Read in ReferenceCode only; in Paper s is β.
	Scale float64 // T, the margin's scale. Read in ReferenceCode only; in Paper it is 1.

	LoserSafeguard bool // Scale the loser's gradient down by Safeguard.
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
	case DPO:
		return positive("beta_dpo", c.Beta, fmt.Sprintf(" (default %d)", DefaultBetaDPO))
	case SFT:
		if c.LoserSafeguard {
			return fmt.Errorf("loser_safeguard scales the loser's gradient, which form %s does not have", SFT)
		}
		return nil
	}
	return fmt.Errorf("form must be %s, %s, %s or %s, got %q", ReferenceCode, Paper, DPO, SFT, c.Form)
}

func positive(key string, v float64, hint string) error {
	if v > 0 && !math.IsInf(v, 0) {
		return nil
	}
	return fmt.Errorf("%s must be a finite number above 0, got %v%s", key, v, hint)
}

// SamplesPerItem is how many pictures of a pair the loss looks at: winner and loser, or the winner.
func (c Config) SamplesPerItem() int {
	if c.Form == SFT {
		return 1
	}
	return 2
}

// NeedsReference tells whether the loss compares with a reference model's errors.
func (c Config) NeedsReference() bool { return c.Form == DPO }

// Terms are what the loss of a pair depends on beside the model's errors.
type Terms struct {
	RefW, RefL float64 // The reference model's errors; read in DPO only.
	Weight     float64 // Of the winner's error, such as min-SNR's; 1 is the plain loss. Not read in DPO.
	Margin     float64 // Of the preference term: 1, or 0 where it is left out. Not read in SFT.
}

// Plain are the terms of the loss as it is written.
var Plain = Terms{Weight: 1, Margin: 1}

// Pair is what the loss is for one pair, and its derivatives.
type Pair struct {
	LogOdds float64 // MaPO: f(w) − f(l), positive when the winner fits better. DPO: the inside term z.
	Ratio   float64 // The preference term, at most 0; MaPO's is the reference code's ratio_losses.
	Loss    float64
	GradW   float64 // dLoss/dw
	GradL   float64 // dLoss/dl
}

// Pair computes the loss of one pair from its winner's and loser's denoising errors w and l,
// each averaged over C×H×W and not below 0. NaN gives NaN. It does not allocate.
//
//	reference_code: f(m) = s·m/(exp(s·m)−1),  Ratio = β·log σ(T·(f(w)−f(l))),    Loss = Weight·w − Margin·Ratio
//	paper:          φ(m) = β·m/(exp(β·m)−1),  Ratio = (1/β)·log σ(φ(w)−φ(l)),    Loss = Weight·w − Margin·Ratio
//	dpo:            z = −β/2·((w−l) − (RefW−RefL)),  Ratio = log σ(z),           Loss = −Margin·Ratio
//	sft:                                                                         Loss = Weight·w
//
// c must be valid. Source: see the package comment.
func (c Config) Pair(w, l float64, t Terms) Pair {
	switch c.Form {
	case SFT:
		return Pair{Loss: t.Weight * w, GradW: t.Weight}
	case DPO:
		return c.dpo(w, l, t)
	}
	return c.mapo(w, l, t)
}

func (c Config) dpo(w, l float64, t Terms) Pair {
	z := -c.Beta / 2 * ((w - l) - (t.RefW - t.RefL))
	ratio := logSigmoid(z)
	pull := t.Margin * sigmoid(-z) * c.Beta / 2
	return Pair{LogOdds: z, Ratio: ratio, Loss: -t.Margin * ratio, GradW: pull, GradL: -pull}
}
