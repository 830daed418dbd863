package kernel

import "math"

// AdamWFactors are the numbers of one step of AdamW, number t from 1 with learning rate lr; package optim computes them.
// Assembly reads the fields in this order.
type AdamWFactors struct {
	Scale   float32 // Multiplies the gradient first: 1/items, clipping.
	Toward  float32 // 1 − β₁.
	Beta2   float32
	Rest    float32 // 1 − β₂.
	Inverse float32 // 1/√(1 − β₂ᵗ).
	Eps     float32
	Rate    float32 // lr/(1 − β₁ᵗ).
	Keep    float32 // 1 − lr·decay.
}

// AdamWUpdate does one step of AdamW on parameters p with gradient grad and moments m and v, all of one length:
//
//	g = scale·grad;  m = m + toward·(g − m);  v = β₂·v + rest·g²
//	p = keep·p − rate·(m / (√v·inverse + ε))
//
// Each product is rounded, so that every kernel set gives the same bits. grad is not changed. It runs in the calling
// goroutine.
//
// Source: Loshchilov and Hutter, arXiv:1711.05101; torch/optim/adamw.py, _single_tensor_adam.
func AdamWUpdate(p, grad, m, v []float32, f *AdamWFactors) {
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
func adamWStep(p, grad, m, v []float32, f *AdamWFactors) {
	active.vectors.adamW(&p[0], &grad[0], &m[0], &v[0], &f.Scale, len(p))
}

// adamWGeneric reads factors as AdamWFactors.
func adamWGeneric(p, grad, m, v, factors *float32, n int) {
	ps, gs, ms, vs, f := at(p, n), at(grad, n), at(m, n), at(v, n), at(factors, 8)
	scale, toward, beta2, rest, inverse, eps, rate, keep := f[0], f[1], f[2], f[3], f[4], f[5], f[6], f[7]
	for i, pi := range ps {
		g := float32(gs[i] * scale)
		mi := ms[i] + float32(toward*(g-ms[i]))
		vi := float32(beta2*vs[i]) + float32(rest*float32(g*g))
		denom := float32(float32(math.Sqrt(float64(vi)))*inverse) + eps
		ms[i], vs[i] = mi, vi
		ps[i] = float32(pi*keep) - float32(rate*float32(mi/denom))
	}
}
