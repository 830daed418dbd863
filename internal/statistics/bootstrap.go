package statistics

import (
	"math"
	"slices"

	"yohaku/internal/rng"
)

// Draws is how many resamples a bootstrap takes.
const Draws = 2000

// Bootstrap is the 95 % BCa interval (bias-corrected and accelerated) of statistic over n units, such as prompts. statistic
// gets the indices of a sample of n units, drawn with replacement, and must not keep them; its value on all units is the
// estimate. With θ̂ the estimate, G the distribution of Draws resampled values, θᵢ the value without unit i:
//
//	z₀ = Φ⁻¹(share of G below θ̂, ties half),  a = Σ(θ̄−θᵢ)³ / (6·(Σ(θ̄−θᵢ)²)^1.5)
//	bounds: G⁻¹(Φ(z₀ + (z₀±z)/(1−a(z₀±z))))
//
// Where all resampled values or all θᵢ are equal, z₀ or a is 0, which makes it the percentile interval. Draws are keyed by
// seed, so that the same figures give the same interval. n below 2 gives bounds that are the estimate; no units give NaN.
//
// Source: Efron, Better Bootstrap Confidence Intervals, JASA 82 (1987), 171–185; as in scipy.stats.bootstrap.
func Bootstrap(seed uint64, n int, statistic func(units []int) float64) Interval {
	units := make([]int, n)
	for i := range units {
		units[i] = i
	}
	if n == 0 {
		return Interval{math.NaN(), math.NaN(), math.NaN()}
	}
	value := statistic(units)
	if n < 2 {
		return Interval{value, value, value}
	}
	values := make([]float64, Draws)
	sample := make([]int, n)
	for d := range values {
		stream := rng.New(rng.Key{Seed: seed, Domain: rng.Resample, Step: uint64(d)})
		for i := range sample {
			sample[i] = stream.IntN(n)
		}
		values[d] = statistic(sample)
	}
	slices.Sort(values)
	z0, a := bias(values, value), acceleration(units, statistic)
	bound := func(z float64) float64 {
		return quantile(values, phi(z0+(z0+z)/(1-a*(z0+z))))
	}
	return Interval{value, bound(-z95), bound(z95)}
}

// bias is z₀.
func bias(sorted []float64, value float64) float64 {
	below, equal := 0, 0
	for _, v := range sorted {
		switch {
		case v < value:
			below++
		case v == value:
			equal++
		}
	}
	share := (float64(below) + float64(equal)/2) / float64(len(sorted))
	least := 0.5 / float64(len(sorted)) // Beyond what the draws can tell.
	return probit(min(max(share, least), 1-least))
}

// acceleration is a, by the jackknife.
func acceleration(units []int, statistic func([]int) float64) float64 {
	without := make([]float64, len(units))
	rest := make([]int, 0, len(units))
	centre := 0.0
	for i := range units {
		rest = append(append(rest[:0], units[:i]...), units[i+1:]...)
		without[i] = statistic(rest)
		centre += without[i] / float64(len(units))
	}
	var squares, cubes float64
	for _, v := range without {
		d := centre - v
		squares += d * d
		cubes += d * d * d
	}
	if squares <= 1e-30*centre*centre { // Equal but for rounding.
		return 0
	}
	return cubes / (6 * math.Pow(squares, 1.5))
}

// quantile interpolates linearly between the sorted values, as numpy does.
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	lo := int(math.Floor(at))
	if !(at >= 0) || lo >= len(sorted)-1 {
		return sorted[min(max(lo, 0), len(sorted)-1)]
	}
	return sorted[lo] + (at-float64(lo))*(sorted[lo+1]-sorted[lo])
}

// phi is the standard normal distribution function, probit its inverse.
func phi(z float64) float64 { return 0.5 * math.Erfc(-z/math.Sqrt2) }

func probit(p float64) float64 { return -math.Sqrt2 * math.Erfcinv(2*p) }

// BootstrapMean is Bootstrap of the mean of values; NaN when there are none.
func BootstrapMean(seed uint64, values []float64) Interval {
	return Bootstrap(seed, len(values), func(units []int) float64 {
		sum := 0.0
		for _, u := range units {
			sum += values[u]
		}
		return sum / float64(len(units))
	})
}
