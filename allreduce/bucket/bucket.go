package bucket

import (
	"fmt"

	"yohaku/allreduce"
	"yohaku/allreduce/fixedpoint"
)

// Bucket is a run of whole blocks.
type Bucket struct {
	Index            int
	Lo, Hi           int // Elements of the slab.
	BlockLo, BlockHi int
	LastTensor       int // The bucket is complete when the gradient of this tensor is.
}

// Spans returns the buckets' places in the vectors of a reduction.
func Spans(buckets []Bucket) []allreduce.Span {
	spans := make([]allreduce.Span, len(buckets))
	for i, b := range buckets {
		spans[i] = allreduce.Span{Lo: b.Lo, Hi: b.Hi, ExpLo: b.BlockLo, ExpHi: b.BlockHi}
	}
	return spans
}

// Ready returns how many of the buckets, which are in order, are complete when the gradients of the
// first tensors are.
func Ready(buckets []Bucket, tensors int) int {
	n := 0
	for n < len(buckets) && buckets[n].LastTensor < tensors {
		n++
	}
	return n
}

// Plan cuts the layout into buckets of at most maxBytes on the wire, counting the format's bytes for
// an element and one for a block's exponent. It refuses a maxBytes that does not hold one block.
// An empty layout has no buckets.
func Plan(l *fixedpoint.Layout, f fixedpoint.Format, maxBytes int) ([]Bucket, error) {
	if least := fixedpoint.BlockElements*f.Bytes() + 1; maxBytes < least {
		return nil, fmt.Errorf("bucket bytes must be at least %d (one block of %s), got %d", least, f, maxBytes)
	}
	var buckets []Bucket
	bytes := maxBytes + 1 // Full, so that the first block opens a bucket.
	for i := range l.Tensors() {
		t := l.Tensor(i)
		for b := t.Block; b < t.Block+t.Blocks; b++ {
			lo, hi := l.Block(b)
			size := (hi-lo)*f.Bytes() + 1
			if bytes+size > maxBytes {
				buckets = append(buckets, Bucket{Index: len(buckets), Lo: lo, BlockLo: b})
				bytes = 0
			}
			bytes += size
			last := &buckets[len(buckets)-1]
			last.Hi, last.BlockHi, last.LastTensor = hi, b+1, i
		}
	}
	return buckets, nil
}
