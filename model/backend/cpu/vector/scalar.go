package vector

import "math"

// Exp is eˣ within 2 ulp for −87.3 ≤ x ≤ 88.3, and beyond these the value at the bound:
// 2ᵏ·p(r), x = k·ln 2 + r, |r| ≤ ln 2/2. The polynomial is Cephes' expf.
func Exp(x float32) float32 {
	const (
		shift = 12582912 // 1.5·2²³: adding it rounds to a whole number, which the low bits then hold.
		ln2Hi = 0.693145751953125
		ln2Lo = 1.42860682030941723212e-6
	)
	if x < -87.3 {
		x = -87.3
	}
	if x > 88.3 {
		x = 88.3
	}
	t := float32(x*1.44269504088896341) + shift
	k := t - shift
	r := x - float32(k*ln2Hi)
	r -= float32(k * ln2Lo)
	p := float32(1.9875691500e-4)
	p = float32(p*r) + 1.3981999507e-3
	p = float32(p*r) + 8.3334519073e-3
	p = float32(p*r) + 4.1665795894e-2
	p = float32(p*r) + 1.6666665459e-1
	p = float32(p*r) + 5.0000001201e-1
	p = float32(float32(p*r)*r) + r
	p++
	return math.Float32frombits(math.Float32bits(p) + math.Float32bits(t)<<23)
}

// Sigmoid is 1/(1+e⁻ˣ).
func Sigmoid(x float32) float32 { return 1 / (Exp(-x) + 1) }

// Normal is the normal distribution function Φ within 3e-7: erf as a rational function on [−4, 4], as in
// Eigen's generic_fast_erf_float.
func Normal(x float32) float32 {
	z := float32(x * (math.Sqrt2 / 2))
	if z < -4 {
		z = -4
	}
	if z > 4 {
		z = 4
	}
	s := float32(z * z)
	p := float32(-2.72614225801306e-10)
	p = float32(p*s) + 2.77068142495902e-08
	p = float32(p*s) - 2.10102402082508e-06
	p = float32(p*s) - 5.69250639462346e-05
	p = float32(p*s) - 7.34990630326855e-04
	p = float32(p*s) - 2.95459980854025e-03
	p = float32(p*s) - 1.60960333262415e-02
	q := float32(-1.45660718464996e-05)
	q = float32(q*s) - 2.13374055278905e-04
	q = float32(q*s) - 1.68282697438203e-03
	q = float32(q*s) - 7.37332916720468e-03
	q = float32(q*s) - 1.42647390514189e-02
	return float32(0.5*(float32(z*p)/q)) + 0.5
}

// Density is the normal density φ.
func Density(x float32) float32 {
	return float32(1/2.5066282746310002) * Exp(float32(-0.5*x)*x)
}

// SiLUSlope is d/dx x·σ(x) = σ·(1 + x·(1−σ)).
func SiLUSlope(x float32) float32 {
	s := Sigmoid(x)
	return s * (float32(x*(1-s)) + 1)
}
