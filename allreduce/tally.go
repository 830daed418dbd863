package allreduce

import (
	"encoding/binary"
	"math/bits"
)

// MaxTally is the most micro-batches in a step.
const MaxTally = 256

// TallyBytes is the size of a Tally on the wire.
const TallyBytes = MaxTally / 8

// Tally is the set of micro-batches that a partial sum contains.
type Tally [MaxTally / 64]uint64

// TallyOf returns the set of the given micro-batches, each from 0 to MaxTally−1; others panic.
func TallyOf(microBatches ...int) Tally {
	var t Tally
	for _, m := range microBatches {
		t[uint(m)/64] |= 1 << (uint(m) % 64)
	}
	return t
}

// TallyAll returns the set of the first n micro-batches, n ≤ MaxTally.
func TallyAll(n int) Tally {
	var t Tally
	for m := range n {
		t[m/64] |= 1 << (m % 64)
	}
	return t
}

// Union returns the micro-batches of both, and how many are in both: in a sum they would count twice.
func (t Tally) Union(o Tally) (both Tally, twice int) {
	for i := range t {
		both[i] = t[i] | o[i]
		twice += bits.OnesCount64(t[i] & o[i])
	}
	return both, twice
}

// Count returns the number of micro-batches.
func (t Tally) Count() int {
	n := 0
	for _, w := range t {
		n += bits.OnesCount64(w)
	}
	return n
}

// Append appends the set, little endian.
func (t Tally) Append(b []byte) []byte {
	for _, w := range t {
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	return b
}

// DecodeTally reads what Append wrote; b has at least TallyBytes.
func DecodeTally(b []byte) (t Tally) {
	for i := range t {
		t[i] = binary.LittleEndian.Uint64(b[8*i:])
	}
	return t
}
