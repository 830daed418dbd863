package allreduce

import "yohaku/internal/assert"

// Chunk is what one message carries: some elements and some exponents of one segment of one bucket.
type Chunk struct {
	Phase        Phase
	Bucket       int
	Step         int // Of the phase, 0 … W−2.
	Lo, Hi       int // Elements.
	ExpLo, ExpHi int // Exponents.
	// Needs is, for a chunk to send, how many chunks must have been taken before; 0: its bucket alone is needed.
	Needs int
}

// Span is the part of the vectors that one bucket covers.
type Span struct {
	Lo, Hi       int // Elements.
	ExpLo, ExpHi int // Exponents.
}

// Shape is what all ranks of one operation agree on.
type Shape struct {
	World        int
	Buckets      []Span // Reduced in this order.
	ElementBytes int
	TurnElements int // Most elements of a bucket that go round together.
	ChunkBytes   int // Most bytes of elements and exponents in one chunk; an exponent has 1.
}

// Chunks writes to sends and receives, which it truncates first, what the rank sends to the next rank and receives from
// the previous one, each in order: bucket after bucket, so that a rank may have the first ones before the last. An empty
// segment still takes one empty chunk, so every rank hears from every other one in each bucket. A world of one has none.
//
// Within a bucket, turns of at most TurnElements go round one close behind the other: step i of turn t is in slot t + i. So
// a turn's sums are complete while they are still in the processor's cache, and what is passed on came a whole slot before.
// A turn's first segment needs no receipt; what follows passes on what came, chunk by chunk.
func Chunks(sends, receives []Chunk, rank int, s Shape) (outSends, outReceives []Chunk) {
	assert.That(s.ElementBytes > 0 && s.ChunkBytes > s.ElementBytes && s.TurnElements > 0, "chunk of %d bytes for elements of %d in turns of %d", s.ChunkBytes, s.ElementBytes, s.TurnElements)
	sends, receives = sends[:0], receives[:0]
	schedule := Schedule(rank, s.World)
	came, comes := make([]int, len(schedule)), make([]int, len(schedule)) // By step: the receives before those of the last slot, of this one.
	for bucket, span := range s.Buckets {
		turns := span.cut(s.TurnElements)
		for slot := range len(turns) + len(schedule) {
			for i, step := range schedule {
				t := slot - i
				if t < 0 || t >= len(turns) {
					continue
				}
				model := Chunk{Phase: step.Phase, Bucket: bucket, Step: i % (s.World - 1)}
				first := len(sends)
				sends = s.appendSegment(sends, model, turns[t], step.Send)
				for k := first; k < len(sends) && i > 0; k++ {
					sends[k].Needs = came[i-1] + k - first + 1
				}
				comes[i] = len(receives)
				receives = s.appendSegment(receives, model, turns[t], step.Recv)
			}
			came, comes = comes, came
		}
	}
	return sends, receives
}

// appendSegment cuts segment i of a bucket into as few chunks as hold it, elements and exponents in proportion.
func (s Shape) appendSegment(chunks []Chunk, model Chunk, b Span, i int) []Chunk {
	lo, hi := Segment(i, s.World, b.Hi-b.Lo)
	expLo, expHi := Segment(i, s.World, b.ExpHi-b.ExpLo)
	count := s.pieces(hi-lo, expHi-expLo)
	for k := range count {
		from, to := Segment(k, count, hi-lo)
		expFrom, expTo := Segment(k, count, expHi-expLo)
		c := model
		c.Lo, c.Hi, c.ExpLo, c.ExpHi = b.Lo+lo+from, b.Lo+lo+to, b.ExpLo+expLo+expFrom, b.ExpLo+expLo+expTo
		chunks = append(chunks, c)
	}
	return chunks
}

// pieces returns how many chunks hold the given elements and exponents. The first part of each split is the largest.
func (s Shape) pieces(elements, exponents int) int {
	count := max(1, (elements*s.ElementBytes+exponents+s.ChunkBytes-1)/s.ChunkBytes)
	for {
		_, e := Segment(0, count, elements)
		_, x := Segment(0, count, exponents)
		if e*s.ElementBytes+x <= s.ChunkBytes {
			return count
		}
		count++
	}
}

// Whole cuts vectors into buckets of at most elements each, exponents in proportion; a bucket for nothing is one too.
func Whole(elements, exponents, most int) []Span {
	return Span{Hi: elements, ExpHi: exponents}.cut(most)
}

// cut cuts a span into spans of at most so many elements, exponents in proportion.
func (b Span) cut(most int) []Span {
	elements := b.Hi - b.Lo
	count := max(1, (elements+most-1)/most)
	spans := make([]Span, count)
	for i := range spans {
		lo, hi := Segment(i, count, elements)
		expLo, expHi := Segment(i, count, b.ExpHi-b.ExpLo)
		spans[i] = Span{b.Lo + lo, b.Lo + hi, b.ExpLo + expLo, b.ExpLo + expHi}
	}
	return spans
}
