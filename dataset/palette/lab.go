package palette

import "math"

// Lab is a colour in CIELAB under D65: lightness L in [0, 100], and the opponent axes A (green to
// red) and B (blue to yellow), about ±100.
type Lab struct{ L, A, B float64 }

// FromSRGB converts 8-bit sRGB to CIELAB: gamma decoding, the sRGB primaries' matrix to XYZ, and
// with f(t) = ∛t above (6/29)³
//
//	L = 116·f(Y/Yn) − 16,  A = 500·(f(X/Xn) − f(Y/Yn)),  B = 200·(f(Y/Yn) − f(Z/Zn)).
func FromSRGB(r, g, b uint8) Lab {
	lr, lg, lb := linear[r], linear[g], linear[b]
	x := compress((0.4124564*lr + 0.3575761*lg + 0.1804375*lb) / 0.95047)
	y := compress(0.2126729*lr + 0.7151522*lg + 0.0721750*lb)
	z := compress((0.0193339*lr + 0.1191920*lg + 0.9503041*lb) / 1.08883)
	return Lab{L: 116*y - 16, A: 500 * (x - y), B: 200 * (y - z)}
}

// Distance is ΔE*ab, the Euclidean distance in CIELAB. About 2 is just visible.
func (c Lab) Distance(d Lab) float64 {
	l, a, b := c.L-d.L, c.A-d.A, c.B-d.B
	return math.Sqrt(l*l + a*a + b*b)
}

// linear holds the light of each 8-bit sRGB value, in [0, 1].
var linear = func() (t [256]float64) {
	for i := range t {
		v := float64(i) / 255
		if v <= 0.04045 {
			t[i] = v / 12.92
			continue
		}
		t[i] = math.Pow((v+0.055)/1.055, 2.4)
	}
	return t
}()

// compress is CIELAB's f: a cube root, continued linearly near 0.
func compress(t float64) float64 {
	const delta = 6.0 / 29
	if t > delta*delta*delta {
		return math.Cbrt(t)
	}
	return t/(3*delta*delta) + 4.0/29
}
