package kernel

import "math"

// Products of bf16: operands are rounded to bf16, sums are in float32. Panels hold pairs, (k, k+1) in one element of 32
// bits, where the processor multiplies pairs (AVX512-BF16). It adds the odd product first, then the even one, each by a
// fused multiply-add with denormal numbers taken as 0. The other sets do the same on rounded float32 in that order, so the
// sets avx512 and avx2 give the same bits unless a number is denormal.

// Half is a number in bf16: the upper half of a float32.
type Half = uint16

// ToHalf rounds src to bf16, to the nearest and ties to even; denormal numbers become 0. Both have the same length.
func ToHalf(dst []Half, src []float32) {
	checkSame(len(dst), len(src))
	for len(src) > 0 {
		n := min(len(src), chunkElements)
		toHalfStep(dst[:n], src[:n])
		dst, src = dst[n:], src[n:]
	}
}

// FromHalf widens src. Both have the same length.
func FromHalf(dst []float32, src []Half) {
	checkSame(len(dst), len(src))
	for len(src) > 0 {
		n := min(len(src), chunkElements)
		fromHalfStep(dst[:n], src[:n])
		dst, src = dst[n:], src[n:]
	}
}

//go:noinline
func toHalfStep(dst []Half, src []float32) { active.half.toHalf(&dst[0], &src[0], len(dst)) }

//go:noinline
func fromHalfStep(dst []float32, src []Half) { active.half.fromHalf(&dst[0], &src[0], len(dst)) }

// halfSet is what a kernel set adds for products of bf16.
type halfSet struct {
	// set is the product's arithmetic: its packers round float32 to bf16.
	set *kernelSet
	// depth is how many values of k one row of a panel holds: 2 with pairs, otherwise 1.
	depth int
	// packRows and packCopy are those of kernelSet for numbers that are bf16 already.
	packRows func(dst []float32, width int, rows []*Half, kc int)
	packCopy func(dst []float32, width int, src []Half, stride, n, fill, kc int)
	// row writes a row of A: src rounded, k ascending.
	row func(dst, src []float32)
	// pair writes kc rows of A, at most 2, ld apart, that go on with k: src[k·stride+i] rounded, i < n.
	pair     func(dst []float32, ld int, src []float32, stride, n, kc int)
	toHalf   func(dst *Half, src *float32, n int)
	fromHalf func(dst *float32, src *Half, n int)
}

// matrixHalf is a stored matrix of bf16 as a source; see matrix.
type matrixHalf struct {
	data   []Half
	ld     int
	alongK bool
}

func (m *matrixHalf) pack(set *kernelSet, s *Scratch, dst []float32, width, i, n, k0, kc int) {
	if kc == 0 {
		return
	}
	if !m.alongK {
		set.half.packCopy(dst, width, m.data[k0*m.ld+i:], m.ld, n, width, kc)
		return
	}
	rows := s.halves[:n]
	for r := range rows {
		rows[r] = &m.data[(i+r)*m.ld+k0]
	}
	set.half.packRows(dst, width, rows, kc)
}

// emulateHalf makes products of bf16 from those of float32: values are rounded as they are packed, and the two of a pair
// change places.
func emulateHalf(base *kernelSet) *halfSet {
	set := *base
	h := &halfSet{set: &set, depth: 1, row: rowEmulated, pair: pairEmulated, toHalf: toHalfGeneric, fromHalf: fromHalfGeneric}
	set.half, set.direct = h, false
	set.packRows = func(dst []float32, width int, rows []*float32, kc int) {
		base.packRows(dst, width, rows, kc)
		roundPairs(dst, width, kc)
	}
	set.packCopy = func(dst []float32, width int, src []float32, stride, n, fill, kc int) {
		base.packCopy(dst, width, src, stride, n, fill, kc)
		roundPairs(dst, width, kc)
	}
	h.packRows = func(dst []float32, width int, rows []*Half, kc int) {
		for i := range width {
			for k, x := range at(rows[min(i, len(rows)-1)], kc) {
				dst[k*width+i] = widen(x)
			}
		}
		swapPairs(dst, width, kc)
	}
	h.packCopy = func(dst []float32, width int, src []Half, stride, n, fill, kc int) {
		for k := range kc {
			row := dst[k*width:][:fill]
			clear(row[n:])
			for i, x := range src[k*stride:][:n] {
				row[i] = widen(x)
			}
		}
		swapPairs(dst, width, kc)
	}
	return h
}

func rowEmulated(dst, src []float32) {
	pairEmulated(dst, 1, src, 1, 1, len(src))
}

// pairEmulated takes any kc.
func pairEmulated(dst []float32, ld int, src []float32, stride, n, kc int) {
	for k := range kc {
		to := k ^ 1 // The other place of the pair, unless it is the last and alone.
		if k == kc-1 && kc%2 == 1 {
			to = k
		}
		for i, x := range src[k*stride:][:n] {
			dst[to*ld+i] = widen(roundHalf(x))
		}
	}
}

func roundPairs(panel []float32, width, kc int) {
	for i, x := range panel[:width*kc] {
		panel[i] = widen(roundHalf(x))
	}
	swapPairs(panel, width, kc)
}

func swapPairs(panel []float32, width, kc int) {
	for k := 0; k+1 < kc; k += 2 {
		even, odd := panel[k*width:][:width], panel[(k+1)*width:][:width]
		for i := range even {
			even[i], odd[i] = odd[i], even[i]
		}
	}
}

func widen(h Half) float32 { return math.Float32frombits(uint32(h) << 16) }

// roundHalf rounds to bf16 as ToHalf does. A NaN stays one.
func roundHalf(x float32) Half {
	b := math.Float32bits(x)
	switch exponent := b >> 23 & 0xff; {
	case exponent == 0:
		return Half(b >> 16 & 0x8000)
	case x != x:
		return Half(b>>16 | 0x40)
	}
	return Half((b + 0x7fff + b>>16&1) >> 16)
}

func toHalfGeneric(dst *Half, src *float32, n int) {
	d := at(dst, n)
	for i, x := range at(src, n) {
		d[i] = roundHalf(x)
	}
}

func fromHalfGeneric(dst *float32, src *Half, n int) {
	d := at(dst, n)
	for i, x := range at(src, n) {
		d[i] = widen(x)
	}
}

// rounds reports whether s is the arithmetic of products of bf16.
func (s *kernelSet) rounds() bool { return s.half != nil && s.half.set == s }
