package allreduce

import "yohaku/internal/assert"

// Phase says what a rank does with a segment that it receives.
type Phase uint8

const (
	ReduceScatter Phase = iota // Combine it with the rank's own.
	AllGather                  // Take it as it is: it is complete.
)

// Step is one of the 2(W−1) steps of a rank: it sends one segment to the next rank while it receives
// another one from the previous rank. Send and Recv are segment numbers, see Segment.
type Step struct {
	Phase      Phase
	Send, Recv int
}

// Schedule returns the steps of a rank, 0 ≤ rank < world, none for a world of one:
//
//	reduce-scatter, s = 0 … W−2: send segment rank − s, receive rank − s − 1
//	all-gather,     s = 0 … W−2: send segment rank − s + 1, receive rank − s    (all modulo W)
//
// It panics when rank or world is out of range.
func Schedule(rank, world int) []Step {
	assert.That(world >= 1 && rank >= 0 && rank < world, "rank %d in a world of %d", rank, world)
	steps := make([]Step, 0, 2*(world-1))
	mod := func(i int) int { return (i%world + world) % world }
	for s := range 2 * (world - 1) {
		phase := ReduceScatter
		if s >= world-1 {
			phase = AllGather
		}
		steps = append(steps, Step{Phase: phase, Send: mod(rank - s), Recv: mod(rank - s - 1)})
	}
	return steps
}

// Segment returns the part [lo, hi) of n things that is number i of parts. The parts cover everything
// in order and differ in size by at most one; some are empty when n < parts.
func Segment(i, parts, n int) (lo, hi int) {
	size, rest := n/parts, n%parts
	lo = i*size + min(i, rest)
	hi = lo + size
	if i < rest {
		hi++
	}
	return lo, hi
}
