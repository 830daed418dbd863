package statistics

import (
	"errors"
	"math"
)

// ErrSeparated reports that some models never lost to, or never met, the others, so that their strengths
// have no finite estimate. The caller gives a prior above 0, or more comparisons.
var ErrSeparated = errors.New("strengths have no finite estimate: some models only won, only lost, or were never compared with the rest")

// BradleyTerry estimates log strengths s, with sum 0, of K models from wins[i][j], how often i beat j; a
// tie is half a win for each. The model is
//
//	P(i beats j) = exp(sᵢ) / (exp(sᵢ) + exp(sⱼ)).
//
// prior is added to each wins[i][j], i ≠ j, and pulls the strengths together; 0 is maximum likelihood. The intervals are
// Wald's, from the inverse of the Fisher information on the space of sum 0: they count each comparison as independent.
//
// It is found by minorization–maximization: pᵢ ← Wᵢ / Σⱼ nᵢⱼ/(pᵢ+pⱼ), with Wᵢ the wins of i and nᵢⱼ the comparisons
// of i and j. Source: Hunter, MM Algorithms for Generalized Bradley–Terry Models, Annals of Statistics 32 (2004), 384–406.
func BradleyTerry(wins [][]float64, prior float64) ([]Interval, error) {
	k := len(wins)
	w := make([][]float64, k)
	for i := range w {
		w[i] = make([]float64, k)
		for j := range w[i] {
			if i != j {
				w[i][j] = wins[i][j] + prior
			}
		}
	}
	if !connected(w) {
		return nil, ErrSeparated
	}
	p := minorizeMaximize(w)
	variances := inverseDiagonal(information(w, p))
	out := make([]Interval, k)
	for i := range out {
		s, half := math.Log(p[i]), z95*math.Sqrt(variances[i])
		out[i] = Interval{s, s - half, s + half}
	}
	return out, nil
}

const (
	maxRounds     = 100_000
	mmPrecision   = 1e-12 // Largest change of a log strength in the last round.
	pivotTooSmall = 1e-300
)

func minorizeMaximize(w [][]float64) []float64 {
	k := len(w)
	p := make([]float64, k)
	for i := range p {
		p[i] = 1
	}
	for range maxRounds {
		change, logs := 0.0, 0.0
		for i := range p {
			won, share := 0.0, 0.0
			for j := range p {
				if j != i {
					won += w[i][j]
					share += (w[i][j] + w[j][i]) / (p[i] + p[j])
				}
			}
			if k > 1 {
				next := won / share
				change = max(change, math.Abs(math.Log(next/p[i])))
				p[i] = next
			}
			logs += math.Log(p[i])
		}
		for i := range p {
			p[i] /= math.Exp(logs / float64(k))
		}
		if change < mmPrecision {
			break
		}
	}
	return p
}

// connected tells whether each model beat each other one, directly or by way of others, which is when the
// likelihood has a maximum (Ford, 1957).
func connected(w [][]float64) bool {
	reach := func(beat func(i, j int) bool) bool {
		seen, stack := map[int]bool{0: true}, []int{0}
		for len(stack) > 0 {
			i := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			for j := range w {
				if !seen[j] && beat(i, j) {
					seen[j] = true
					stack = append(stack, j)
				}
			}
		}
		return len(seen) == len(w)
	}
	return len(w) > 0 && reach(func(i, j int) bool { return w[i][j] > 0 }) && reach(func(i, j int) bool { return w[j][i] > 0 })
}

// information is the Fisher information of the log strengths plus 11ᵀ/K, whose inverse less 11ᵀ/K is the
// pseudo-inverse: the covariance on the space of sum 0.
func information(w [][]float64, p []float64) [][]float64 {
	k := len(p)
	m := make([][]float64, k)
	for i := range m {
		m[i] = make([]float64, k)
		for j := range m[i] {
			m[i][j] += 1 / float64(k)
			if i != j {
				q := p[i] / (p[i] + p[j])
				v := (w[i][j] + w[j][i]) * q * (1 - q)
				m[i][j] -= v
				m[i][i] += v
			}
		}
	}
	return m
}

// inverseDiagonal is the diagonal of m⁻¹ − 11ᵀ/K, by Gauss–Jordan. m is positive definite, and is overwritten.
func inverseDiagonal(m [][]float64) []float64 {
	k := len(m)
	inverse := make([][]float64, k)
	for i := range inverse {
		inverse[i] = make([]float64, k)
		inverse[i][i] = 1
	}
	for c := range m {
		pivot := max(m[c][c], pivotTooSmall)
		for j := range m {
			m[c][j] /= pivot
			inverse[c][j] /= pivot
		}
		for r := range m {
			if r == c {
				continue
			}
			f := m[r][c]
			for j := range m {
				m[r][j] -= f * m[c][j]
				inverse[r][j] -= f * inverse[c][j]
			}
		}
	}
	out := make([]float64, k)
	for i := range out {
		out[i] = max(0, inverse[i][i]-1/float64(k))
	}
	return out
}
