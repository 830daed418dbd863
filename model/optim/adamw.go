package optim

import (
	"cmp"
	"fmt"
	"math"

	"yohaku/internal/assert"
	"yohaku/model/kernel"
)

// AdamW holds the constants of decoupled weight decay Adam (all dimensionless).
type AdamW struct {
	Beta1, Beta2 float64
	Eps          float64
	WeightDecay  float64
}

// DefaultAdamW returns the peer's constants. It decays every parameter, biases and norms too.
func DefaultAdamW() AdamW { return AdamW{Beta1: 0.9, Beta2: 0.999, Eps: 1e-8, WeightDecay: 1e-2} }

// Validate returns an error that names the key, the value and the rule when a is not usable.
func (a AdamW) Validate() error {
	return cmp.Or(
		within("adam_beta1", a.Beta1, a.Beta1 >= 0 && a.Beta1 < 1, "at least 0 and below 1 (default 0.9)"),
		within("adam_beta2", a.Beta2, a.Beta2 >= 0 && a.Beta2 < 1, "at least 0 and below 1 (default 0.999)"),
		within("adam_epsilon", a.Eps, a.Eps > 0 && !math.IsInf(a.Eps, 0), "a finite number above 0 (default 1e-8)"),
		within("adam_weight_decay", a.WeightDecay, a.WeightDecay >= 0 && !math.IsInf(a.WeightDecay, 0), "a finite number of at least 0 (default 0.01)"),
	)
}

func within(key string, v float64, ok bool, rule string) error {
	if ok {
		return nil
	}
	return fmt.Errorf("%s must be %s, got %v", key, rule, v)
}

// Step updates p, m and v (parameters, first and second moments) in place by the gradient
// gradScale·g, as update number step, counted from 1:
//
//	p ← p·(1 − lr·λ)
//	m ← m + (1−β₁)·(g − m)
//	v ← β₂·v + (1−β₂)·g²
//	p ← p − lr/(1−β₁ᵗ) · m/(√v/√(1−β₂ᵗ) + ε)
//
// All slices have one length. The arithmetic is float32, each product rounded on its own, so the
// bits do not depend on where the caller cuts the slices, nor on the kernel set.
//
// Source: torch/optim/adamw.py, _single_tensor_adam.
func (a AdamW) Step(p, g, m, v []float32, step int, lr, gradScale float64) {
	if step < 1 || len(g) != len(p) || len(m) != len(p) || len(v) != len(p) { // Arguments of a call would be allocated.
		assert.That(false, "AdamW step %d counts from 1, and the lengths %d %d %d %d are equal", step, len(p), len(g), len(m), len(v))
	}
	f := a.Factors(step, lr, gradScale)
	kernel.AdamWUpdate(p, g, m, v, &f)
}

// Factors are what kernel.AdamWUpdate needs to do Step, for a caller that does it in many pieces. They are computed in
// float64 and rounded once.
func (a AdamW) Factors(step int, lr, gradScale float64) kernel.AdamWFactors {
	t := float64(step)
	return kernel.AdamWFactors{
		Scale:   float32(gradScale),
		Toward:  float32(1 - a.Beta1),
		Beta2:   float32(a.Beta2),
		Rest:    float32(1 - a.Beta2),
		Inverse: float32(1 / math.Sqrt(1-math.Pow(a.Beta2, t))),
		Eps:     float32(a.Eps),
		Rate:    float32(lr / (1 - math.Pow(a.Beta1, t))),
		Keep:    float32(1 - lr*a.WeightDecay),
	}
}

// ClipCoefficient returns min(1, max/(norm + 1e-6)), by which gradients of that global norm are
// multiplied. A max of 0 turns clipping off. A norm that is not finite gives 0 or NaN: the
// caller looks at the norm first.
//
// Source: torch.nn.utils.clip_grad_norm_.
func ClipCoefficient(norm, max float64) float64 {
	if max == 0 {
		return 1
	}
	return math.Min(1, max/(norm+1e-6))
}
