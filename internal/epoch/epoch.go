// Package epoch numbers the owners of a run. Two coordinators that know nothing of each other, as those
// of two copies of a run folder, may both begin the epoch after the last one that they heard of. So an
// epoch is a count in its high bits, which grows with every owner, and a tag of its owner in its low ones:
// no two owners share an epoch, and one of them is above the other, so that the other is fenced.
package epoch

import (
	"fmt"
	"hash/fnv"
)

// tagBits is the width of a tag. Two owners that begin the same count at the same time share a tag once
// in 16 million; then workers still refuse the second of them. 29 bits of a count keep the whole
// exact in a reader of JSON that takes numbers as float64.
const tagBits = 24

// First is the epoch with which a run begins, and which no copy of it can have.
const First = uint64(1) << tagBits

// Next is the owner's epoch after the highest one that it has heard of; 0 is none.
func Next(highest, tag uint64) uint64 {
	if highest == 0 {
		return First
	}
	return (Count(highest)+1)<<tagBits | tag&(1<<tagBits-1)
}

// Tag is the tag of an owner, from its name, of which there is only one.
func Tag(owner string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(owner)) // A hash takes everything.
	return h.Sum64()
}

// Count tells how many owners the run has had, as far as the epoch's owner had heard.
func Count(epoch uint64) uint64 { return epoch >> tagBits }

// String is the epoch as people read it: its count and, behind a dash, its tag, if it has one.
func String(epoch uint64) string {
	if tag := epoch & (1<<tagBits - 1); tag != 0 {
		return fmt.Sprintf("%d-%06x", Count(epoch), tag)
	}
	return fmt.Sprint(Count(epoch))
}
