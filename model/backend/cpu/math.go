package cpu

import "math"

// exp32 is eˣ within 2 ulp: 2ᵏ·p(r), x = k·ln 2 + r, |r| ≤ ln 2/2. It is 0 below −87.3 and +Inf above 88.7.
func exp32(x float32) float32 {
	const (
		log2e  = 1.44269504088896341
		shift  = 12582912 // 1.5·2²³: adding it rounds to a whole number.
		ln2Hi  = 0.693145751953125
		ln2Lo  = 1.42860682030941723212e-6
		lowest = -87.3
	)
	if x < lowest {
		return 0
	}
	if x > 88.72 {
		return float32(math.Inf(1))
	}
	t := float32(x*log2e) + shift
	k := t - shift
	r := x - float32(k*ln2Hi)
	r -= float32(k * ln2Lo)
	p := float32(1.9875691500e-4)
	p = float32(p*r) + 1.3981999507e-3
	p = float32(p*r) + 8.3334519073e-3
	p = float32(p*r) + 4.1665795894e-2
	p = float32(p*r) + 1.6666665459e-1
	p = float32(p*r) + 5.0000001201e-1
	p = float32(float32(p*r)*r) + r + 1
	// For k = 128 the factor 2ᵏ does not exist: two factors.
	half := int32(k) >> 1
	return p * pow2(half) * pow2(int32(k)-half)
}

func pow2(k int32) float32 { return math.Float32frombits(uint32(k+127) << 23) }

func sigmoid32(x float32) float32 { return 1 / (1 + exp32(-x)) }

// erf32 is the error function within 2e-7 (a rational function on [−4, 4], as in Eigen's
// generic_fast_erf_float).
func erf32(x float32) float32 {
	x = max(-4, min(4, x))
	s := float32(x * x)
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
	return float32(x*p) / q
}

// normal32 is the normal distribution function Φ.
func normal32(x float32) float32 { return 0.5 + float32(0.5*erf32(float32(x*math.Sqrt2/2))) }

// density32 is the normal density φ.
func density32(x float32) float32 {
	return float32(1/2.5066282746310002) * exp32(float32(float32(-0.5*x)*x))
}
