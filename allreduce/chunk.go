package allreduce

import "yohaku/internal/assert"

// Chunk is what one message carries: some elements and some exponents of one segment.
type Chunk struct {
	Phase        Phase
	Lo, Hi       int // Elements.
	ExpLo, ExpHi int // Exponents.
}

// Shape is what all ranks of one operation agree on.
type Shape struct {
	World        int
	Elements     int // Length of the vector of sums.
	Exponents    int // Length of the vector of exponents, 1 byte each.
	ElementBytes int
	ChunkBytes   int // Most bytes of elements and exponents in one chunk.
}

// Chunks writes to sends and receives, which it truncates first, what the rank sends to the next rank
// and receives from the previous rank, each in order. The first free sends need nothing; after
// those, send free+i passes on what receive i brought. An empty segment still takes one empty chunk,
// so every rank hears from every other one. A world of one has none.
func Chunks(sends, receives []Chunk, rank int, s Shape) (outSends, outReceives []Chunk, free int) {
	assert.That(s.ElementBytes > 0 && s.ChunkBytes > s.ElementBytes, "chunk of %d bytes for elements of %d", s.ChunkBytes, s.ElementBytes)
	sends, receives = sends[:0], receives[:0]
	for i, step := range Schedule(rank, s.World) {
		sends = s.appendSegment(sends, step.Phase, step.Send)
		receives = s.appendSegment(receives, step.Phase, step.Recv)
		if i == 0 {
			free = len(sends)
		}
	}
	return sends, receives, free
}

// appendSegment cuts segment i into as few chunks as hold it, elements and exponents in proportion.
func (s Shape) appendSegment(chunks []Chunk, phase Phase, i int) []Chunk {
	lo, hi := Segment(i, s.World, s.Elements)
	expLo, expHi := Segment(i, s.World, s.Exponents)
	count := s.pieces(hi-lo, expHi-expLo)
	for k := range count {
		a, b := Segment(k, count, hi-lo)
		c, d := Segment(k, count, expHi-expLo)
		chunks = append(chunks, Chunk{Phase: phase, Lo: lo + a, Hi: lo + b, ExpLo: expLo + c, ExpHi: expLo + d})
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
