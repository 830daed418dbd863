package kernel

import "math"

// The functions of this file are the specification of the elementwise kernels: every assembly variant gives these bits,
// for all inputs without NaN. The float32 conversions forbid fusing a multiply with an add (Go spec), so the bits do not
// depend on the architecture.

func addGeneric(dst, a, b *float32, n int) {
	d, x, y := at(dst, n), at(a, n), at(b, n)
	for i := range d {
		d[i] = x[i] + y[i]
	}
}

func scaleGeneric(dst, x *float32, n int, alpha float32) {
	d, xs := at(dst, n), at(x, n)
	for i := range d {
		d[i] = alpha * xs[i]
	}
}

const log2e = float32(math.Log2E)

// onePlusExpMinus is 1 + exp(−x).
func onePlusExpMinus(x float32) float32 { return 1 + exp2Generic(float32(x*-log2e)) }

func siluGeneric(x float32) float32 { return x / onePlusExpMinus(x) }

// siluGradGeneric is silu′(x) = σ·(1 + x·(1 − σ)).
func siluGradGeneric(x float32) float32 {
	s := 1 / onePlusExpMinus(x)
	return s * (float32(x*(1-s)) + 1)
}

func silusGeneric(dst, x *float32, n int) {
	d := at(dst, n)
	for i, v := range at(x, n) {
		d[i] = siluGeneric(v)
	}
}

func siluGradsGeneric(dx, x, dy *float32, n int) {
	d, g := at(dx, n), at(dy, n)
	for i, v := range at(x, n) {
		d[i] = g[i] * siluGradGeneric(v)
	}
}

// The coefficients of erf(x) = x·P(x²)/Q(x²) on [−4, 4], as in Eigen's float approximation; relative error 2e-7.
var (
	erfAbove = [...]float32{-2.72614225801306e-10, 2.77068142495902e-08, -2.10102402082508e-06, -5.69250639462346e-05, -7.34990630326855e-04, -2.95459980854025e-03, -1.60960333262415e-02}
	erfBelow = [...]float32{-1.45660718464996e-05, -2.13374055278905e-04, -1.68282697438203e-03, -7.37332916720468e-03, -1.42647390514189e-02}
)

func horner(k []float32, x float32) float32 {
	p := k[0]
	for _, c := range k[1:] {
		p = float32(p*x) + c
	}
	return p
}

// normalCDF is Φ(x) = ½·(1 + erf(x/√2)).
func normalCDF(x float32) float32 {
	t := float32(x * float32(math.Sqrt2/2))
	t = max(min(t, 4), -4)
	square := float32(t * t)
	erf := float32(t*horner(erfAbove[:], square)) / horner(erfBelow[:], square)
	return float32(erf*0.5) + 0.5
}

func gelusGeneric(dst, x *float32, n int) {
	d := at(dst, n)
	for i, v := range at(x, n) {
		d[i] = v * normalCDF(v)
	}
}

// geluGradGeneric is gelu′(x) = Φ(x) + x·φ(x), φ the density of the normal distribution.
func geluGradGeneric(x float32) float32 {
	density := float32(exp2Generic(float32(float32(float32(x*x)*0.5)*-log2e)) * float32(1/(math.Sqrt2*1.7724538509055160273)))
	return normalCDF(x) + float32(density*x)
}

func geluGradsGeneric(dx, x, dy *float32, n int) {
	d, g := at(dx, n), at(dy, n)
	for i, v := range at(x, n) {
		d[i] = g[i] * geluGradGeneric(v)
	}
}

// quickScale is the factor of quick GELU, x·σ(1.702·x).
const quickScale = float32(1.702)

func quickGELUsGeneric(dst, x *float32, n int) {
	d := at(dst, n)
	for i, v := range at(x, n) {
		d[i] = v / onePlusExpMinus(float32(quickScale*v))
	}
}

func quickGELUGradsGeneric(dx, x, dy *float32, n int) {
	d, g := at(dx, n), at(dy, n)
	for i, v := range at(x, n) {
		d[i] = g[i] * siluGradGeneric(float32(quickScale*v))
	}
}

func gegluGeneric(dst, x, gate *float32, n int) {
	d, xs := at(dst, n), at(x, n)
	for i, g := range at(gate, n) {
		d[i] = xs[i] * float32(g*normalCDF(g))
	}
}

func gegluGradGeneric(dx, dgate, x, gate, dy *float32, n int) {
	d, e, xs, gates := at(dx, n), at(dgate, n), at(x, n), at(gate, n)
	for i, y := range at(dy, n) {
		v, g := xs[i], gates[i]
		d[i] = y * float32(g*normalCDF(g))
		e[i] = y * float32(v*geluGradGeneric(g))
	}
}
