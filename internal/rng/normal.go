package rng

import "math"

// FillNormal fills dst with independent standard normal numbers (Box–Muller in float64, rounded
// to float32). A Philox block gives two numbers, cosine first:
//
//	r = sqrt(−2·ln(1−u₁)),  z₀ = r·cos(2πu₂),  z₁ = r·sin(2πu₂)
//
// Every call starts at a fresh block; with an odd length the last sine is not used. The bits are
// the same on every processor: logarithm, sine and cosine are this package's own, with products
// and sums rounded one by one (the math package's may be fused or in assembly).
func (s *Stream) FillNormal(dst []float32) {
	s.used = len(s.buf)
	for i := 0; i < len(dst); i += 2 {
		b := s.next()
		u1 := unit(uint64(b[0]) | uint64(b[1])<<32)
		u2 := unit(uint64(b[2]) | uint64(b[3])<<32)
		r := math.Sqrt(float64(-2 * ln(1-u1)))
		sin, cos := sincosTurn(u2)
		dst[i] = float32(r * cos)
		if i+1 < len(dst) {
			dst[i+1] = float32(r * sin)
		}
	}
}

// ln returns the natural logarithm of x in (0, 1], below 1 ulp wrong.
//
// x = 2ᵏ·(1+f) with 1+f in [√½, √2); ln(1+f) = f − f²/2 + s·(f²/2 + R(s²)), s = f/(2+f).
// Source: FreeBSD's e_log.c, coefficients of its Remez polynomial R.
func ln(x float64) float64 {
	const (
		ln2Hi = 6.93147180369123816490e-01
		ln2Lo = 1.90821492927058770002e-10
		l1    = 6.666666666666735130e-01
		l2    = 3.999999999940941908e-01
		l3    = 2.857142874366239149e-01
		l4    = 2.222219843214978396e-01
		l5    = 1.818357216161805012e-01
		l6    = 1.531383769920937332e-01
		l7    = 1.479819860511658591e-01
	)
	f1, exp := math.Frexp(x)
	if f1 < math.Sqrt2/2 {
		f1 *= 2
		exp--
	}
	f, k := f1-1, float64(exp)
	s := f / (2 + f)
	s2 := float64(s * s)
	s4 := float64(s2 * s2)
	odd := s2 * horner(s4, l7, l5, l3, l1)
	even := s4 * horner(s4, l6, l4, l2)
	r := float64(odd) + float64(even)
	half := float64(float64(0.5*f) * f)
	correction := float64(s*(half+r)) + float64(k*ln2Lo)
	return float64(k*ln2Hi) - ((half - correction) - f)
}

// sincosTurn returns sin(2πu) and cos(2πu) for u in [0, 1), within 2 ulp of 1. The turn is cut
// into eighths before it becomes an angle, so the reduction is exact.
func sincosTurn(u float64) (sin, cos float64) {
	eighths := u * 8 // Exact: a power of two.
	octant := int(eighths)
	quadrant := (octant + 1) / 2
	angle := float64((eighths - float64(2*quadrant)) * (math.Pi / 4)) // In [−π/4, π/4].
	s, c := sinSmall(angle), cosSmall(angle)
	switch quadrant & 3 {
	case 1:
		return c, -s
	case 2:
		return -s, -c
	case 3:
		return -c, s
	}
	return s, c
}

// sinSmall returns sin x for |x| ≤ π/4. Source: FreeBSD's k_sin.c.
func sinSmall(x float64) float64 {
	z := float64(x * x)
	p := horner(z, 1.58969099521155010221e-10, -2.50507602534068634195e-08, 2.75573137070700676789e-06,
		-1.98412698298579493134e-04, 8.33333333332248946124e-03, -1.66666666666666324348e-01)
	return x + float64(float64(x*z)*p)
}

// cosSmall returns cos x for |x| ≤ π/4. Source: FreeBSD's k_cos.c.
func cosSmall(x float64) float64 {
	z := float64(x * x)
	p := horner(z, -1.13596475577881948265e-11, 2.08757232129817482790e-09, -2.75573143513906633035e-07,
		2.48015872894767294178e-05, -1.38888888888741095749e-03, 4.16666666666666019037e-02)
	half := float64(0.5 * z)
	w := 1 - half
	return w + (((1 - w) - half) + float64(float64(z*z)*p))
}

// horner evaluates the polynomial with the given coefficients, highest power first; products
// and sums are rounded one by one.
func horner(x float64, coefficients ...float64) float64 {
	p := coefficients[0]
	for _, c := range coefficients[1:] {
		p = float64(p*x) + c
	}
	return p
}
