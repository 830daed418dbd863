package replica

import "yohaku/internal/rng"

// Sample names the micro-batches of a step, of m, that are computed again on another rank: each
// with probability ratio, by a draw that everybody makes alike.
func Sample(seed uint64, step, m int, ratio float64) []int {
	if ratio <= 0 {
		return nil
	}
	s := rng.New(rng.Key{Seed: seed, Domain: rng.Audit, Step: uint64(step)})
	var sample []int
	for mb := range m {
		if s.Float64() < ratio {
			sample = append(sample, mb)
		}
	}
	return sample
}

// Auditors are the ranks that compute the sample's micro-batches again, one for each: not who has
// it in its sums, unless it is alone, and each in proportion to its share, which is to its speed.
func Auditors(sample []int, shares [][]int) []int {
	owner := map[int]int{}
	for rank, share := range shares {
		for _, mb := range share {
			owner[mb] = rank
		}
	}
	given := make([]int, len(shares))
	auditors := make([]int, len(sample))
	for i, mb := range sample {
		best := -1
		for rank, share := range shares {
			if rank == owner[mb] && len(shares) > 1 {
				continue
			}
			// Less is (given+1)/share: who would be the sooner done with one more.
			if best < 0 || (given[rank]+1)*max(len(shares[best]), 1) < (given[best]+1)*max(len(share), 1) {
				best = rank
			}
		}
		given[best]++
		auditors[i] = best
	}
	return auditors
}

// Vote is a digest of one gradient, as a rank computed it.
type Vote struct {
	Rank   int    `json:"rank"`
	Digest string `json:"digest"`
}

// JudgeVotes tells which ranks computed the gradient wrongly at least once: those whose digest is
// not that of more than half of the votes. Without such a majority, all that voted are undecided.
func JudgeVotes(votes []Vote) (want string, wrong, undecided []int) {
	count := map[string]int{}
	for _, v := range votes {
		if count[v.Digest]++; 2*count[v.Digest] > len(votes) {
			want = v.Digest
		}
	}
	seen := map[int]bool{}
	for _, v := range votes {
		if seen[v.Rank] || v.Digest == want {
			continue
		}
		seen[v.Rank] = true
		if want == "" {
			undecided = append(undecided, v.Rank)
		} else {
			wrong = append(wrong, v.Rank)
		}
	}
	return want, wrong, undecided
}
