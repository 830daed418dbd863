package kernel

import "math"

// AdamW holds the settings of one step of the optimizer. Step counts from 1.
type AdamW struct {
	LearningRate, Beta1, Beta2, Eps, WeightDecay float64
	GradScale                                    float64 // Multiplies the gradient first: 1/items, clipping.
	Step                                         int
}

// Factors returns the float32 numbers that the update needs, computed in float64.
func (o AdamW) Factors() [9]float32 {
	t := float64(o.Step)
	return [9]float32{
		float32(o.GradScale),
		float32(o.Beta1), float32(1 - o.Beta1),
		float32(o.Beta2), float32(1 - o.Beta2),
		float32(1 / math.Sqrt(1-math.Pow(o.Beta2, t))), float32(o.Eps),
		float32(o.LearningRate / (1 - math.Pow(o.Beta1, t))), float32(1 - o.LearningRate*o.WeightDecay),
	}
}

// AdamWUpdate does one step of AdamW on parameters p with gradient grad and moments m and v, all of one length:
//
//	g = scale·grad;  m = β1·m + (1−β1)·g;  v = β2·v + (1−β2)·g²
//	p = (1−lr·decay)·p − lr/(1−β1ᵗ)·m / (√v/√(1−β2ᵗ) + ε)
//
// f comes from AdamW.Factors. grad is not changed. It runs in the calling goroutine.
//
// Source: Loshchilov and Hutter, arXiv:1711.05101; torch.optim.AdamW.
func AdamWUpdate(p, grad, m, v []float32, f *[9]float32) {
	checkSame(len(p), len(grad))
	checkSame(len(p), len(m))
	checkSame(len(p), len(v))
	for len(p) > 0 {
		n := min(len(p), chunkElements)
		adamWStep(p[:n], grad[:n], m[:n], v[:n], f)
		p, grad, m, v = p[n:], grad[n:], m[n:], v[n:]
	}
}

//go:noinline
func adamWStep(p, grad, m, v []float32, f *[9]float32) {
	active.vectors.adamW(&p[0], &grad[0], &m[0], &v[0], &f[0], len(p))
}
