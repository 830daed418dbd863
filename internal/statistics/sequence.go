package statistics

import "math"

// Sequence is a 95 % confidence sequence for the mean of independent scores in [0, 1], such as votes with
// ties as ½: with probability 0.95 or more all its intervals, at every count, hold the mean. So one may look after
// each vote, and stop when one likes. Make it with NewSequence.
//
// For each candidate mean m two gamblers bet on the scores x₁, x₂, …, one that the mean is above m, one below:
//
//	K⁺ₜ = Π(1 + min(λₜ, c/m)·(xₜ−m)),   K⁻ₜ = Π(1 − min(λₜ, c/(1−m))·(xₜ−m))
//	λₜ = √(2·ln(2/α) / (σ̂²ₜ₋₁·t·ln(t+1))),  μ̂ₜ = (½+Σx)/(t+1),  σ̂²ₜ = (¼+Σ(xᵢ−μ̂ᵢ)²)/(t+1),  c = ½
//
// m is out once max(K⁺, K⁻)/2 has reached 1/α. The candidates are a grid of steps of 1/1000, and the bounds
// go one step beyond those that are left.
//
// Source: Waudby-Smith and Ramdas, Estimating Means of Bounded Random Variables by Betting, Journal of
// the Royal Statistical Society B 86 (2024), 1–27, theorem 3 (hedged capital) with λ of its equation 26.
type Sequence struct {
	n, sum  float64
	squares float64   // Σ(xᵢ−μ̂ᵢ)².
	above   []float64 // ln K⁺ by candidate.
	below   []float64 // ln K⁻.
	out     []bool
}

const (
	candidates = 1000 // Steps of the grid of means.
	betLimit   = 0.5  // c
)

// NewSequence returns the sequence before the first score.
func NewSequence() *Sequence {
	return &Sequence{above: make([]float64, candidates+1), below: make([]float64, candidates+1), out: make([]bool, candidates+1)}
}

// Add takes the next score; it panics outside of [0, 1].
func (s *Sequence) Add(x float64) {
	if !(x >= 0 && x <= 1) {
		panic("statistics: a score of a sequence must be in [0, 1]")
	}
	const alpha = 1 - level
	variance := (0.25 + s.squares) / (s.n + 1)
	s.n++
	bet := math.Sqrt(2 * math.Log(2/alpha) / (variance * s.n * math.Log(s.n+1)))
	for i := range s.out {
		m := float64(i) / candidates
		s.above[i] += math.Log1p(min(bet, betLimit/m) * (x - m)) // 1/0 is +Inf: no limit.
		s.below[i] += math.Log1p(-min(bet, betLimit/(1-m)) * (x - m))
		if max(s.above[i], s.below[i])-math.Ln2 >= math.Log(1/alpha) {
			s.out[i] = true
		}
	}
	s.sum += x
	mean := (0.5 + s.sum) / (s.n + 1)
	s.squares += (x - mean) * (x - mean)
}

// Interval is the mean of the scores so far, and the bounds that hold at every count.
func (s *Sequence) Interval() Interval {
	if s.n == 0 {
		return Interval{0.5, 0, 1}
	}
	low, high := 0, candidates
	for low < candidates && s.out[low] {
		low++
	}
	for high > low && s.out[high] {
		high--
	}
	return Interval{s.sum / s.n, float64(max(0, low-1)) / candidates, float64(min(candidates, high+1)) / candidates}
}
