package statistics

import "math"

// Interval is an estimate with its 95 % confidence bounds.
type Interval struct {
	Value float64 `json:"value"`
	Low   float64 `json:"low"`
	High  float64 `json:"high"`
}

// level is the confidence of all intervals, z95 the 0.975 quantile of the standard normal distribution.
const (
	level = 0.95
	z95   = 1.959963984540054
)

// Wilson is the 95 % score interval of a proportion p observed on n independent trials:
//
//	(p + z²/2n ± z·√(p(1−p)/n + z²/4n²)) / (1 + z²/n)
//
// p may be any mean of scores in [0, 1], such as half-wins. n = 0 gives the whole range.
//
// Source: Wilson, Journal of the American Statistical Association 22 (1927), 209–212.
func Wilson(p float64, n int) Interval {
	if n == 0 {
		return Interval{Value: 0.5, Low: 0, High: 1}
	}
	m := float64(n)
	centre := p + z95*z95/(2*m)
	half := z95 * math.Sqrt(p*(1-p)/m+z95*z95/(4*m*m))
	scale := 1 + z95*z95/m
	return Interval{Value: p, Low: max(0, (centre-half)/scale), High: min(1, (centre+half)/scale)}
}

// Win is what a score of got against one of other counts: 1, ½ for a tie, or 0.
func Win(got, other float64) float64 {
	switch {
	case got > other:
		return 1
	case got == other:
		return 0.5
	}
	return 0
}

// WinRate is the share of comparisons that the tuned model wins against the base, over prompts.
// base and tuned are [prompts][seeds] scores, higher is better. A tie counts one half to each
// side; a prompt's score is its mean over seeds; the interval is Wilson's with n = prompts.
func WinRate(base, tuned [][]float64) (rate Interval, comparisons, ties int) {
	var sum float64
	for p := range base {
		var score float64
		for s := range base[p] {
			win := Win(tuned[p][s], base[p][s])
			if win == 0.5 {
				ties++
			}
			score += win
		}
		comparisons += len(base[p])
		sum += score / float64(len(base[p]))
	}
	if len(base) == 0 {
		return Wilson(0, 0), 0, 0
	}
	return Wilson(sum/float64(len(base)), len(base)), comparisons, ties
}
