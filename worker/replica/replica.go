// Package replica tells which ranks of a ring hold a wrong replica of the training state, and
// which micro-batches a rank computes again to check another.
//
// Replicas are bit-identical by construction, so a difference is a fault of a machine: a bit that
// flipped in memory, or arithmetic that went wrong. A digest finds it; it does not guard against
// a peer that lies, so it is a fast one (XXH3, 128 bits), not a cryptographic one. That is the
// work of the ledger's SHA-256.
//
// Source: design, "The step, exactly", point 6.
package replica

import (
	"slices"
	"strings"
)

// Digest is the digest of a rank's state after a number of steps, part by part. The zero Digest
// is that of no state.
type Digest struct {
	Params string `json:"params,omitempty"`
	M      string `json:"m,omitempty"`
	V      string `json:"v,omitempty"`
	Grid   string `json:"grid,omitempty"` // Exponents of the sums, and the number of updates made.
	EMA    string `json:"ema,omitempty"`  // Where one is kept.
}

// String is the digest in one word.
func (d Digest) String() string {
	parts := []string{d.Params, d.M, d.V, d.Grid}
	if d.EMA != "" {
		parts = append(parts, d.EMA)
	}
	return strings.Join(parts, "-")
}

// Parts names the parts in which d differs from other.
func (d Digest) Parts(other Digest) string {
	var parts []string
	for _, p := range []struct{ name, a, b string }{
		{"parameters", d.Params, other.Params}, {"first moments", d.M, other.M}, {"second moments", d.V, other.V}, {"exponents", d.Grid, other.Grid}, {"moving average", d.EMA, other.EMA},
	} {
		if p.a != p.b {
			parts = append(parts, p.name)
		}
	}
	return strings.Join(parts, ", ")
}

// Claim is what a rank says of its state: the digest that it took when the state was made, and
// the one that it takes now.
type Claim struct {
	Then Digest `json:"then"`
	Now  Digest `json:"now"`
}

// Verdict says which ranks hold a wrong replica.
type Verdict struct {
	Wrong     []int  // Known to be wrong.
	Undecided []int  // Some of these are wrong, and nothing here tells which.
	Want      Digest // What is right; zero while undecided.
}

// Agreed tells that nobody is wrong.
func (v Verdict) Agreed() bool { return len(v.Wrong)+len(v.Undecided) == 0 }

// Concerns tells whether the rank's replica is not to be trusted.
func (v Verdict) Concerns(rank int) bool {
	return slices.Contains(v.Wrong, rank) || slices.Contains(v.Undecided, rank)
}

// Judge compares what the ranks claim:
//
//	a rank whose state is not what it was when it was made is wrong, whatever the others say;
//	of the rest, those that differ from more than half of the rest are wrong;
//	without such a majority, any of the rest may be.
func Judge(claims []Claim) Verdict {
	var v Verdict
	votes := map[Digest]int{}
	rest := 0
	for rank, c := range claims {
		if c.Then != c.Now {
			v.Wrong = append(v.Wrong, rank)
			continue
		}
		votes[c.Now]++
		rest++
	}
	for digest, n := range votes {
		if 2*n > rest {
			v.Want = digest
		}
	}
	for rank, c := range claims {
		switch {
		case c.Then != c.Now || c.Now == v.Want:
		case v.Want == Digest{}:
			v.Undecided = append(v.Undecided, rank)
		default:
			v.Wrong = append(v.Wrong, rank)
		}
	}
	slices.Sort(v.Wrong)
	if rest == 0 && len(claims) > 0 {
		v.Want = claims[0].Then
	}
	return v
}
