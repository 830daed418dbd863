package main

import (
	"math"
	"slices"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/reg"
)

// The constants of exp: see expGeneric, which this follows step by step.
var (
	expHigh, expLow      = float32(88), float32(-88)
	log2e, roundingShift = float32(math.Log2E), float32(3 << 22)
	ln2High, ln2Low      = float32(0.693359375), float32(-2.12194440e-4)
	expCoefficients      = []float32{1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1}
	expConstants         = append([]float32{expHigh, expLow, log2e, roundingShift, ln2High, ln2Low, 1}, expCoefficients...)
)

// exp puts exp(v[x]) into v[d]; v[x] and v[t] are lost.
func (s *vectors) exp(x, d, t int) {
	v, c := s.v, s.constant
	VMOVUPS(c(expHigh), v[t])
	VMINPS(v[x], v[t], v[x]) // The second source, x, wins when it is NaN.
	VMOVUPS(c(expLow), v[t])
	VMAXPS(v[x], v[t], v[x])
	VMULPS(c(log2e), v[x], v[t])
	VADDPS(c(roundingShift), v[t], v[t])
	VSUBPS(c(roundingShift), v[t], v[d]) // n
	VPSLLD(u8(23), v[t], v[t])
	VPADDD(c(1), v[t], v[t]) // The bits of 2ⁿ; 0 for n = −127.
	s.reduce(x, d, 13)
	s.polynomial(x, d, 13)
	VMULPS(v[t], v[d], v[d])
}

// The constants of exp2: 2^r = 1 + r·q(r) within 1e-7 for |r| ≤ ½. Adding exp2Shift rounds to an integer n and leaves
// n + 127, the exponent's bits of 2ⁿ, in the low bits; 0 for n = −127.
var (
	exp2Low, exp2Shift = float32(-127), float32(3<<22 + 127)
	exp2Coefficients   = []float32{1.326472731307149e-3, 9.671512991189957e-3, 5.550733581185341e-2, 2.4022242426872253e-1, 6.931470036506653e-1}
	exp2Constants      = append([]float32{exp2Low, exp2Shift, 1}, exp2Coefficients...)
)

// exp2 puts 2^v[x] into v[d] for arguments up to 127, 0 below −126.5. Its multiply-adds are fused: the same on both sets,
// but without a twin. v[x], v[t] and v[u] are lost.
func (s *vectors) exp2(x, d, t, u int) {
	v, c := s.v, s.constant
	low := c(exp2Low)
	if _, ok := low.(reg.Register); !ok {
		VMOVUPS(low, v[t])
		low = v[t]
	}
	VMAXPS(v[x], low, v[x]) // The second source, x, wins when it is NaN.
	VADDPS(c(exp2Shift), v[x], v[t])
	VSUBPS(c(exp2Shift), v[t], v[u])
	VSUBPS(v[u], v[x], v[x])
	VPSLLD(u8(23), v[t], v[t])
	VMOVUPS(c(exp2Coefficients[0]), v[d])
	for _, k := range append(append([]float32{}, exp2Coefficients[1:]...), 1) {
		VFMADD213PS(c(k), v[x], v[d])
	}
	VMULPS(v[t], v[d], v[d])
}

// reduce subtracts v[n]·ln 2 from v[x] in two steps.
func (s *vectors) reduce(x, n, t int) {
	VMULPS(s.constant(ln2High), s.v[n], s.v[t])
	VSUBPS(s.v[t], s.v[x], s.v[x])
	VMULPS(s.constant(ln2Low), s.v[n], s.v[t])
	VSUBPS(s.v[t], s.v[x], s.v[x])
}

// polynomial puts 1 + r + r²·p(r) into v[d] for r = v[x].
func (s *vectors) polynomial(x, d, t int) {
	v, c := s.v, s.constant
	VMULPS(c(expCoefficients[0]), v[x], v[d])
	for i, k := range expCoefficients[1:] {
		VADDPS(c(k), v[d], v[d])
		if i+2 < len(expCoefficients) {
			VMULPS(v[x], v[d], v[d])
		}
	}
	VMULPS(v[x], v[x], v[t])
	VMULPS(v[t], v[d], v[d])
	VADDPS(v[x], v[d], v[d])
	VADDPS(c(1), v[d], v[d])
}

// onePlusExpMinus puts 1 + exp(−v[x]) into v[d], keeping v[x]; v[t] and v[u] are lost.
func (s *vectors) onePlusExpMinus(x, d, t, u int) {
	s.zero(u)
	VSUBPS(s.v[x], s.v[u], s.v[u])
	s.exp(u, d, t)
	VADDPS(s.constant(1), s.v[d], s.v[d])
}

// silu puts v[x]/(1+exp(−v[x])) into v[d].
func (s *vectors) silu(x, d, t, u int) {
	s.onePlusExpMinus(x, d, t, u)
	VDIVPS(s.v[d], s.v[x], s.v[d])
}

// siluGrad multiplies v[dy] by the derivative of silu at v[x]: σ·(1 + x·(1 − σ)).
func (s *vectors) siluGrad(x, dy, d, t, u int) {
	v := s.v
	s.onePlusExpMinus(x, d, t, u)
	VMOVUPS(s.constant(1), v[t])
	VDIVPS(v[d], v[t], v[d]) // σ
	VSUBPS(v[d], v[t], v[u]) // 1 − σ
	VMULPS(v[x], v[u], v[u])
	VADDPS(v[t], v[u], v[u])
	VMULPS(v[d], v[u], v[u])
	VMULPS(v[u], v[dy], v[dy])
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

// horner puts Σ k[i]·v[x]^(len−1−i) into v[d].
func (s *vectors) horner(k []float32, x, d int) {
	VMULPS(s.constant(k[0]), s.v[x], s.v[d])
	for i, c := range k[1:] {
		VADDPS(s.constant(c), s.v[d], s.v[d])
		if i+2 < len(k) {
			VMULPS(s.v[x], s.v[d], s.v[d])
		}
	}
}

// normalCDF puts ½·(1 + erf(v[x]/√2)) into v[d], keeping v[x]; v[t], v[u] and v[13] are lost.
func (s *vectors) normalCDF(x, d, t, u int) {
	v, c := s.v, s.constant
	VMULPS(c(sqrtHalf), v[x], v[t])
	VMOVUPS(c(erfLimit), v[u])
	VMINPS(v[t], v[u], v[t])
	VMOVUPS(c(-erfLimit), v[u])
	VMAXPS(v[t], v[u], v[t])
	VMULPS(v[t], v[t], v[u])
	s.horner(erfAbove, u, d)
	s.horner(erfBelow, u, 13)
	VMULPS(v[t], v[d], v[d])
	VDIVPS(v[13], v[d], v[d])
	VMULPS(c(half), v[d], v[d])
	VADDPS(c(half), v[d], v[d])
}

// geluSlope adds x·φ(x) to Φ(x) in v[phi] for x = v[x]: that is the derivative of gelu; v[1] to v[3] are lost.
func (s *vectors) geluSlope(x, phi int) {
	v, c := s.v, s.constant
	VMULPS(v[x], v[x], v[1])
	VMULPS(c(half), v[1], v[1])
	s.zero(2)
	VSUBPS(v[1], v[2], v[1])
	s.exp(1, 2, 3)
	VMULPS(c(densityScale), v[2], v[2])
	VMULPS(v[x], v[2], v[2])
	VADDPS(v[2], v[phi], v[phi])
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
		{name: "silu", doc: "computes dst = x/(1+exp(−x)).", streams: []string{"dst", "x"}, constants: expConstants, body: func(p part) {
			p.load("x", 0)
			p.silu(0, 1, 2, 3)
			p.store(1, "dst")
		}},
		{name: "siluGrad", doc: "computes dx = dy·silu′(x).", streams: []string{"dx", "x", "dy"}, constants: expConstants, body: func(p part) {
			p.load("x", 0)
			p.load("dy", 4)
			p.siluGrad(0, 4, 1, 2, 3)
			p.store(4, "dx")
		}},
		{name: "gelu", doc: "computes dst = x·Φ(x).", streams: []string{"dst", "x"}, constants: erfConstants, body: func(p part) {
			p.load("x", 0)
			p.normalCDF(0, 1, 2, 3)
			VMULPS(p.v[0], p.v[1], p.v[1])
			p.store(1, "dst")
		}},
		{name: "geluGrad", doc: "computes dx = dy·gelu′(x).", streams: []string{"dx", "x", "dy"}, constants: geluGradConstants, body: func(p part) {
			p.load("x", 0)
			p.load("dy", 4)
			p.normalCDF(0, 5, 1, 2)
			p.geluSlope(0, 5)
			VMULPS(p.v[5], p.v[4], p.v[4])
			p.store(4, "dx")
		}},
		{name: "quickGELU", doc: "computes dst = x/(1+exp(−1.702·x)).", streams: []string{"dst", "x"}, constants: quickConstants, body: func(p part) {
			p.load("x", 0)
			VMULPS(p.constant(quickScale), p.v[0], p.v[4])
			p.onePlusExpMinus(4, 1, 2, 3)
			VDIVPS(p.v[1], p.v[0], p.v[1])
			p.store(1, "dst")
		}},
		{name: "quickGELUGrad", doc: "computes dx = dy·silu′(1.702·x).", streams: []string{"dx", "x", "dy"}, constants: quickConstants, body: func(p part) {
			p.load("x", 0)
			VMULPS(p.constant(quickScale), p.v[0], p.v[0])
			p.load("dy", 4)
			p.siluGrad(0, 4, 1, 2, 3)
			p.store(4, "dx")
		}},
	}
}

// gates are the passes of GEGLU.
func gates() []kernel {
	return []kernel{
		{name: "geglu", doc: "computes dst = x·gelu(gate).", streams: []string{"dst", "x", "gate"}, constants: erfConstants, body: func(p part) {
			p.load("gate", 0)
			p.normalCDF(0, 1, 2, 3)
			VMULPS(p.v[0], p.v[1], p.v[1])
			p.load("x", 2)
			VMULPS(p.v[2], p.v[1], p.v[1])
			p.store(1, "dst")
		}},
		{name: "gegluGrad", doc: "computes dx = dy·gelu(gate) and dgate = dy·(x·gelu′(gate)).", streams: []string{"dx", "dgate", "x", "gate", "dy"},
			constants: geluGradConstants, body: func(p part) {
				p.load("gate", 0)
				p.normalCDF(0, 5, 1, 2)
				VMULPS(p.v[0], p.v[5], p.v[6])
				p.geluSlope(0, 5)
				p.load("x", 1)
				VMULPS(p.v[5], p.v[1], p.v[1])
				p.load("dy", 4)
				VMULPS(p.v[4], p.v[1], p.v[1])
				VMULPS(p.v[4], p.v[6], p.v[6])
				p.store(6, "dx")
				p.store(1, "dgate")
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
			streams: []string{"s", "dp", "p", "ds"}, strided: []string{"p", "ds"}, channels: []string{"shift", "dot"}, constants: exp2Constants, body: func(p part) {
				p.load("s", 0)
				p.load("shift", 1)
				VSUBPS(p.v[1], p.v[0], p.v[0])
				p.exp2(0, 1, 2, 3)
				p.store(1, "p")
				p.load("dp", 0)
				p.load("dot", 2)
				VSUBPS(p.v[2], p.v[0], p.v[0])
				VMULPS(p.v[1], p.v[0], p.v[0])
				p.store(0, "dp")
				p.store(0, "ds")
			}},
	}
}
