package gate

import (
	"math"
	"testing"
)

// TestWilson compares with SciPy 1.17: binomtest(x, n).proportion_ci(method='wilson').
func TestWilson(t *testing.T) {
	for _, test := range []struct {
		x, n      int
		low, high float64
	}{
		{0, 10, 0, 0.2775328}, {5, 10, 0.2365931, 0.7634069}, {9, 10, 0.5958500, 0.9821238},
		{15, 18, 0.6077796, 0.9416342}, {81, 100, 0.7222115, 0.8748525},
	} {
		got := Wilson(float64(test.x)/float64(test.n), test.n)
		if math.Abs(got.Low-test.low) > 5e-7 || math.Abs(got.High-test.high) > 5e-7 {
			t.Errorf("Wilson(%d/%d) = [%.7f, %.7f], want [%.7f, %.7f]", test.x, test.n, got.Low, got.High, test.low, test.high)
		}
	}
}

func TestWinRateCountsTiesHalfAndPromptsOnce(t *testing.T) {
	base := [][]float64{{1, 1}, {1, 1}, {1, 1}}
	tuned := [][]float64{{2, 2}, {1, 2}, {0, 0}}
	rate, comparisons, ties := WinRate(base, tuned)
	if want := (1 + 0.75 + 0) / 3; math.Abs(rate.Value-want) > 1e-15 || comparisons != 6 || ties != 1 {
		t.Errorf("rate %v of %d with %d ties, want %v of 6 with 1", rate.Value, comparisons, ties, want)
	}
	if want := Wilson(rate.Value, 3); rate != want {
		t.Errorf("interval %+v, want n = prompts: %+v", rate, want)
	}
}
