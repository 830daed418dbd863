package main

import (
	"math"
	"slices"

	. "github.com/mmcloughlin/avo/build"
)

// The constants of exp2: 2^r = 1 + r·q(r) within 1e-7 for |r| ≤ ½. Adding exp2Shift rounds to an integer n and leaves
// n + 127, the exponent's bits of 2ⁿ, in the low bits; 0 for n = −127.
var (
	exp2Low, exp2Shift = float32(-127), float32(3<<22 + 127)
	exp2Coefficients   = []float32{1.326472731307149e-3, 9.671512991189957e-3, 5.550733581185341e-2, 2.4022242426872253e-1, 6.931470036506653e-1, 1}
	exp2Constants      = append([]float32{exp2Low, exp2Shift}, exp2Coefficients...)

	exp2High     = float32(127)
	log2e        = float32(math.Log2E)
	expConstants = append([]float32{exp2High, -log2e}, exp2Constants...)
)

// exp puts 2^x into d; see exp2Generic, which this follows step by step, except that an x that is no number counts as 127.
// x and t are lost.
func (s *vectors) exp(x, d, t int) {
	s.do(VMINPS, exp2High, x, x)
	s.do(VMAXPS, exp2Low, x, x)
	s.do(VADDPS, exp2Shift, x, t)
	s.do(VSUBPS, exp2Shift, t, d) // n
	s.do(VSUBPS, d, x, x)
	s.do(VPSLLD, u8(23), t, t)
	s.horner(exp2Coefficients, x, d)
	s.do(VMULPS, t, d, d)
}

// exp2 puts 2^x into d for arguments up to 127, 0 below −126.5. Its multiply-adds are fused: the same on both sets,
// but without a twin. x and t are lost.
func (s *vectors) exp2(x, d, t int) {
	s.do(VMOVUPS, exp2Low, d)
	s.do(VMAXPS, x, d, x) // The second source, x, wins when it is NaN.
	s.do(VADDPS, exp2Shift, x, t)
	s.do(VSUBPS, exp2Shift, t, d) // n
	s.do(VSUBPS, d, x, x)
	s.do(VPSLLD, u8(23), t, t)
	s.do(VMOVUPS, exp2Coefficients[0], d)
	for _, k := range exp2Coefficients[1:] {
		s.do(VFMADD213PS, k, x, d)
	}
	s.do(VMULPS, t, d, d)
}

// onePlusExpMinus puts 1 + exp(−x) into d, keeping x; t and u are lost.
func (s *vectors) onePlusExpMinus(x, d, t, u int) {
	s.do(VMULPS, -log2e, x, u)
	s.exp(u, d, t)
	s.do(VADDPS, float32(1), d, d)
}

// silu puts x/(1+exp(−x)) into d; t and u are lost.
func (s *vectors) silu(x, d, t, u int) {
	s.onePlusExpMinus(x, d, t, u)
	s.do(VDIVPS, d, x, d)
}

// siluGrad multiplies dy by the derivative of silu at x: σ·(1 + x·(1 − σ)). d, t and u are lost.
func (s *vectors) siluGrad(x, dy, d, t, u int) {
	s.onePlusExpMinus(x, d, t, u)
	s.do(VMOVUPS, float32(1), t)
	s.do(VDIVPS, d, t, d) // σ
	s.do(VSUBPS, d, t, u) // 1 − σ
	s.do(VMULPS, x, u, u)
	s.do(VADDPS, t, u, u)
	s.do(VMULPS, d, u, u)
	s.do(VMULPS, u, dy, dy)
}

// The constants of quick GELU.
var (
	quickScale     = float32(1.702)
	quickConstants = slices.Concat(expConstants, []float32{quickScale})
)

// The constants of erf: see erfGeneric.
var (
	erfLimit                     = float32(4)
	erfAbove                     = []float32{-2.72614225801306e-10, 2.77068142495902e-08, -2.10102402082508e-06, -5.69250639462346e-05, -7.34990630326855e-04, -2.95459980854025e-03, -1.60960333262415e-02}
	erfBelow                     = []float32{-1.45660718464996e-05, -2.13374055278905e-04, -1.68282697438203e-03, -7.37332916720468e-03, -1.42647390514189e-02}
	sqrtHalf, half, densityScale = float32(math.Sqrt2 / 2), float32(0.5), float32(1 / (math.Sqrt2 * 1.7724538509055160273))
	erfConstants                 = append(append([]float32{erfLimit, -erfLimit, sqrtHalf, half}, erfAbove...), erfBelow...)
	geluGradConstants            = append(append(append([]float32{}, expConstants...), densityScale), erfConstants...)
)

// horner puts Σ k[i]·x^(len−1−i) into d.
func (s *vectors) horner(k []float32, x, d int) {
	s.do(VMULPS, k[0], x, d)
	for i, c := range k[1:] {
		s.do(VADDPS, c, d, d)
		if i+2 < len(k) {
			s.do(VMULPS, x, d, d)
		}
	}
}

// normalCDF puts ½·(1 + erf(x/√2)) into d, keeping x; t, u and w are lost.
func (s *vectors) normalCDF(x, d, t, u, w int) {
	s.do(VMULPS, sqrtHalf, x, t)
	s.do(VMINPS, erfLimit, t, t)
	s.do(VMAXPS, -erfLimit, t, t)
	s.do(VMULPS, t, t, u)
	s.horner(erfAbove, u, d)
	s.horner(erfBelow, u, w)
	s.do(VMULPS, t, d, d)
	s.do(VDIVPS, w, d, d)
	s.do(VMULPS, half, d, d)
	s.do(VADDPS, half, d, d)
}

// geluSlope adds x·φ(x) to Φ(x) in phi: that is the derivative of gelu; t, u and w are lost.
func (s *vectors) geluSlope(x, phi, t, u, w int) {
	s.do(VMULPS, x, x, t)
	s.do(VMULPS, half, t, t)
	s.do(VMULPS, -log2e, t, t)
	s.exp(t, u, w)
	s.do(VMULPS, densityScale, u, u)
	s.do(VMULPS, x, u, u)
	s.do(VADDPS, u, phi, phi)
}

func elementwise() {
	masks()
	for _, s := range instructionSets() {
		for _, k := range slices.Concat(arithmetic(), activations(), gates(), normalisation(), layerNorm(), attention()) {
			k.emit(s)
		}
		columnSums(s)
		columnDots(s)
		columnSoftmax(s)
		adamW(s)
		winograd(s)
	}
}

func arithmetic() []kernel {
	return []kernel{
		{name: "add", doc: "computes dst = a + b.", streams: []string{"dst", "a", "b"}, body: func(p part) {
			p.load("a", 0)
			p.load("b", 1)
			VADDPS(p.v[1], p.v[0], p.v[0])
			p.store(0, "dst")
		}},
		{name: "scale", doc: "computes dst = alpha·x.", streams: []string{"dst", "x"}, scalars: []string{"alpha"}, body: func(p part) {
			p.load("x", 0)
			VMULPS(p.v[scalarBase], p.v[0], p.v[0])
			p.store(0, "dst")
		}},
	}
}

func activations() []kernel {
	return []kernel{
		{name: "silu", doc: "computes dst = x/(1+exp(−x)).", streams: []string{"dst", "x"}, constants: expConstants, registers: 4, body: func(p part) {
			p.load("x", 0)
			p.silu(0, 1, 2, 3)
			p.store(1, "dst")
		}},
		{name: "siluGrad", doc: "computes dx = dy·silu′(x).", streams: []string{"dx", "x", "dy"}, constants: expConstants, registers: 5, body: func(p part) {
			p.load("x", 0)
			p.load("dy", 4)
			p.siluGrad(0, 4, 1, 2, 3)
			p.store(4, "dx")
		}},
		{name: "gelu", doc: "computes dst = x·Φ(x).", streams: []string{"dst", "x"}, constants: erfConstants, registers: 5, body: func(p part) {
			p.load("x", 0)
			p.normalCDF(0, 1, 2, 3, 4)
			p.do(VMULPS, 0, 1, 1)
			p.store(1, "dst")
		}},
		{name: "geluGrad", doc: "computes dx = dy·gelu′(x).", streams: []string{"dx", "x", "dy"}, constants: geluGradConstants, registers: 5, body: func(p part) {
			p.load("x", 0)
			p.normalCDF(0, 1, 2, 3, 4)
			p.geluSlope(0, 1, 2, 3, 4)
			p.load("dy", 4)
			p.do(VMULPS, 1, 4, 4)
			p.store(4, "dx")
		}},
		{name: "quickGELU", doc: "computes dst = x/(1+exp(−1.702·x)).", streams: []string{"dst", "x"}, constants: quickConstants, registers: 5, body: func(p part) {
			p.load("x", 0)
			p.do(VMULPS, quickScale, 0, 4)
			p.onePlusExpMinus(4, 1, 2, 3)
			p.do(VDIVPS, 1, 0, 1)
			p.store(1, "dst")
		}},
		{name: "quickGELUGrad", doc: "computes dx = dy·silu′(1.702·x).", streams: []string{"dx", "x", "dy"}, constants: quickConstants, registers: 5, body: func(p part) {
			p.load("x", 0)
			p.do(VMULPS, quickScale, 0, 0)
			p.load("dy", 4)
			p.siluGrad(0, 4, 1, 2, 3)
			p.store(4, "dx")
		}},
	}
}

// gates are the passes of GEGLU.
func gates() []kernel {
	return []kernel{
		{name: "geglu", doc: "computes dst = x·gelu(gate).", streams: []string{"dst", "x", "gate"}, constants: erfConstants, registers: 5, body: func(p part) {
			p.load("gate", 0)
			p.normalCDF(0, 1, 2, 3, 4)
			p.do(VMULPS, 0, 1, 1)
			p.load("x", 2)
			p.do(VMULPS, 2, 1, 1)
			p.store(1, "dst")
		}},
		{name: "gegluGrad", doc: "computes dx = dy·gelu(gate) and dgate = dy·(x·gelu′(gate)).", streams: []string{"dx", "dgate", "x", "gate", "dy"},
			constants: geluGradConstants, registers: 6, body: func(p part) {
				p.load("gate", 0)
				p.normalCDF(0, 1, 2, 3, 4)
				p.do(VMULPS, 0, 1, 5)
				p.geluSlope(0, 1, 2, 3, 4)
				p.load("x", 2)
				p.do(VMULPS, 1, 2, 2)
				p.load("dy", 4)
				p.do(VMULPS, 4, 2, 2)
				p.do(VMULPS, 4, 5, 5)
				p.store(5, "dx")
				p.store(2, "dgate")
			}},
	}
}

// attention are the passes over blocks of scores that have a column for each query.
func attention() []kernel {
	return []kernel{
		{name: "scaleColumns", doc: "computes x = x·factor, factor by column.", rows: true, streams: []string{"x"}, channels: []string{"factor"}, body: func(p part) {
			p.load("x", 0)
			p.load("factor", 1)
			VMULPS(p.v[1], p.v[0], p.v[0])
			p.store(0, "x")
		}},
		{name: "attentionGrad", doc: "computes p = 2^(s − shift) and dp = ds = p·(dp − dot), shift and dot by column.\nRows of p and ds are stride bytes apart.", rows: true,
			streams: []string{"s", "dp", "p", "ds"}, strided: []string{"p", "ds"}, channels: []string{"shift", "dot"}, constants: exp2Constants, registers: 3, body: func(p part) {
				p.load("s", 0)
				p.load("shift", 1)
				p.do(VSUBPS, 1, 0, 0)
				p.exp2(0, 1, 2)
				p.store(1, "p")
				p.load("dp", 0)
				p.load("dot", 2)
				p.do(VSUBPS, 2, 0, 0)
				p.do(VMULPS, 1, 0, 0)
				p.store(0, "dp")
				p.store(0, "ds")
			}},
	}
}
