package statistics

import (
	"maps"
	"math"
	"slices"
)

// Distance is how far two values are apart, for Krippendorff's alpha; 0 for equal ones.
type Distance func(a, b float64) float64

// Nominal is the distance of categories: 1 for different ones.
func Nominal(a, b float64) float64 {
	if a == b {
		return 0
	}
	return 1
}

// IntervalScale is the distance of numbers on an interval scale: the squared difference.
func IntervalScale(a, b float64) float64 { return (a - b) * (a - b) }

// Krippendorff is alpha, the agreement of annotators on units: 1 is perfect, 0 is chance. values holds
// those of each unit, [units][annotators], in any order; NaN, or a shorter row, is a value that was not given. With n
// values in units that have two or more, mᵤ of them in unit u, and distance δ:
//
//	Dₒ = 1/n · Σᵤ 1/(mᵤ−1) · Σ_{i≠j} δ(vᵤᵢ, vᵤⱼ),   Dₑ = 1/(n(n−1)) · Σ_{a≠b} δ(vₐ, v_b),   α = 1 − Dₒ/Dₑ
//
// It is NaN when no unit has two values, or all values are equal: then nothing can be said of agreement.
//
// Source: Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), whose example is in the test.
func Krippendorff(values [][]float64, distance Distance) float64 {
	counts := map[float64]float64{} // Of each value, over the units that count.
	n, observed := 0.0, 0.0
	for _, unit := range values {
		given := present(unit)
		if len(given) < 2 {
			continue
		}
		n += float64(len(given))
		sum := 0.0
		for i, a := range given {
			counts[a]++
			for j, b := range given {
				if i != j {
					sum += distance(a, b)
				}
			}
		}
		observed += sum / float64(len(given)-1)
	}
	expected := 0.0
	categories := slices.Sorted(maps.Keys(counts)) // In an order, so that the sum has the same bits each time.
	for _, a := range categories {
		for _, b := range categories {
			expected += counts[a] * counts[b] * distance(a, b)
		}
	}
	if n < 2 || expected == 0 {
		return math.NaN()
	}
	return 1 - observed/n/(expected/(n*(n-1)))
}

// present are the values that are there.
func present(unit []float64) []float64 {
	out := make([]float64, 0, len(unit))
	for _, v := range unit {
		if !math.IsNaN(v) {
			out = append(out, v)
		}
	}
	return out
}
