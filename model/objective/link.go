package objective

import "math"

// link returns g(x) = x/(exp(x)−1) for x ≥ 0, continued to 1 at 0, where exp(x)−1 would cancel
// to 0/0, and 0 where exp(x) overflows.
func link(x float64) float64 {
	if x == 0 {
		return 1
	}
	if x > 745 { // exp(−x) is 0 in float64.
		return 0
	}
	return x / math.Expm1(x)
}

// linkSeries holds B₂ₖ·2k/(2k)!, k = 1…10: g'(x) = −1/2 + Σ linkSeries[k−1]·x^(2k−1).
var linkSeries = [...]float64{
	1.0 / 6, -1.0 / 180, 1.0 / 5040, -1.0 / 151200, 1.0 / 4790016, -691.0 / 108972864000, 1.0 / 5337446400,
	-3617.0 / 666913927680000, 43867.0 / 283838567620608000, -174611.0 / 40142883134914560000,
}

// linkSlope returns g'(x) = (exp(x)−1−x·exp(x))/(exp(x)−1)², for x ≥ 0, −1/2 at 0. The quotient
// cancels for small x, where the Bernoulli series takes over.
func linkSlope(x float64) float64 {
	if x < 1 {
		square, power, sum := x*x, x, -0.5
		for _, c := range linkSeries {
			sum += c * power
			power *= square
		}
		return sum
	}
	if x > 745 {
		return 0
	}
	// Divided through by exp(2x), so that nothing overflows.
	q := -math.Expm1(-x)
	return (q - x) * math.Exp(-x) / (q * q)
}

// logSigmoid returns log(1/(1+exp(−z))) without overflow.
func logSigmoid(z float64) float64 { return math.Min(z, 0) - math.Log1p(math.Exp(-math.Abs(z))) }

// sigmoid returns 1/(1+exp(−z)) without overflow, accurate in its small tail.
func sigmoid(z float64) float64 {
	if z >= 0 {
		return 1 / (1 + math.Exp(-z))
	}
	e := math.Exp(z)
	return e / (1 + e)
}
