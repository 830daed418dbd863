// Package assignment shares the micro-batches of a step out among ranks, in proportion to their
// speed. It is pure arithmetic that every rank and the coordinator repeat with the same result.
//
// Invariant: every micro-batch of a step is in exactly one share. Who has it never changes a bit
// of the result, only the time.
package assignment

import (
	"fmt"
	"slices"
)

// gain is the least shortening of the step, relative, for which shares are worth changing: less is noise.
const gain = 0.1

// Equal splits micro-batches 0 to m−1 into world contiguous shares whose sizes differ by at most one.
func Equal(m, world int) [][]int { return contiguous(counts(m, make([]float64, world))) }

// BySpeed splits micro-batches 0 to m−1 into contiguous shares such that the slowest rank ends as
// early as it can. seconds is the time of one micro-batch by rank; not positive means unknown and
// counts as the mean of the known.
func BySpeed(m int, seconds []float64) [][]int { return contiguous(counts(m, seconds)) }

// Rebalance returns new shares when they shorten the step by a tenth or more, and current otherwise.
func Rebalance(current [][]int, seconds []float64) [][]int {
	m := 0
	for _, share := range current {
		m += len(share)
	}
	known := complete(seconds)
	next := contiguous(counts(m, known))
	if duration(next, known) > (1-gain)*duration(current, known) {
		return current
	}
	return next
}

// Fill keeps what each rank has and adds the missing ones of micro-batches 0 to m−1, each to the
// rank that ends it first. A micro-batch that two ranks have stays with the first.
func Fill(m int, have [][]int, seconds []float64) [][]int {
	known := complete(seconds)
	shares := make([][]int, len(have))
	taken := make([]bool, m)
	for rank, held := range have {
		shares[rank] = []int{}
		for _, mb := range held {
			if mb >= 0 && mb < m && !taken[mb] {
				taken[mb] = true
				shares[rank] = append(shares[rank], mb)
			}
		}
	}
	added := make([]int, len(have))
	for mb, have := range taken {
		if !have {
			rank := first(added, known)
			added[rank]++
			shares[rank] = append(shares[rank], mb)
		}
	}
	for _, share := range shares {
		slices.Sort(share)
	}
	return shares
}

// Check returns an error that names the first micro-batch of 0 to m−1 that is not in exactly one share.
func Check(m int, shares [][]int) error {
	count := make([]int, m)
	for rank, share := range shares {
		for _, mb := range share {
			if mb < 0 || mb >= m {
				return fmt.Errorf("rank %d has micro-batch %d, there are only 0 to %d", rank, mb, m-1)
			}
			count[mb]++
		}
	}
	for mb, n := range count {
		if n != 1 {
			return fmt.Errorf("micro-batch %d is in %d shares, must be in one", mb, n)
		}
	}
	return nil
}

// counts shares m out one by one, each to the rank that ends it first.
func counts(m int, seconds []float64) []int {
	known := complete(seconds)
	n := make([]int, len(known))
	for range m {
		n[first(n, known)]++
	}
	return n
}

// first is the rank that would end one more micro-batch first; the lowest of equals.
func first(n []int, seconds []float64) int {
	best := 0
	for rank := range n {
		if float64(n[rank]+1)*seconds[rank] < float64(n[best]+1)*seconds[best] {
			best = rank
		}
	}
	return best
}

// complete replaces unknown times by the mean of the known, or by 1.
func complete(seconds []float64) []float64 {
	var sum float64
	n := 0
	for _, s := range seconds {
		if s > 0 {
			sum += s
			n++
		}
	}
	mean := 1.0
	if n > 0 {
		mean = sum / float64(n)
	}
	known := slices.Clone(seconds)
	for i, s := range known {
		if !(s > 0) {
			known[i] = mean
		}
	}
	return known
}

func contiguous(counts []int) [][]int {
	shares := make([][]int, len(counts))
	at := 0
	for rank, n := range counts {
		shares[rank] = []int{}
		for range n {
			shares[rank] = append(shares[rank], at)
			at++
		}
	}
	return shares
}

// duration is the time of the rank that ends last.
func duration(shares [][]int, seconds []float64) float64 {
	var longest float64
	for rank, share := range shares {
		longest = max(longest, float64(len(share))*seconds[rank])
	}
	return longest
}
