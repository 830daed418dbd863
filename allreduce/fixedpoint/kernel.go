package fixedpoint

import (
	"encoding/binary"

	"yohaku/internal/isa"
)

// kernels are the loops of one instruction set. n is a multiple of turn and not 0, b points to n little-endian integers at
// any address. All sets give the same bits: the functions named Generic are the specification.
type kernels struct {
	name        string
	maxAbs      func(x *float32, n int) uint32
	addRounded  func(dst *int32, x *float32, n int, inverse float32)
	addDithered func(dst *int32, x *float32, n int, inverse float64, state uint64)
	decode      func(dst *float32, sums *int32, n int, factor float64)
	addInt32    func(dst, own *int32, b *byte, n int)
	addInt16    func(dst, own *int32, b *byte, n int)
	widen       func(dst *int32, b *byte, n int)
	narrow      func(b *byte, v *int32, n int) uint32

	pack24, pack12 func(b *byte, v *int32, n int) uint32
	add24, add12   func(dst, own *int32, b *byte, n int)
	open24, open12 func(dst *int32, b *byte, n int)
}

// turn is what the kernels' lengths are a multiple of. The rest is for the generic functions.
const turn = 32

// active is the set in use, nil for generic. Only tests change it after the start. Package kernel reports a name that is none.
var active = choose(isa.Asked(), available())

// choose picks the set by name from those available, best first, or the best one.
func choose(name string, sets []*kernels) *kernels {
	if name == "generic" || len(sets) == 0 {
		return nil
	}
	for _, s := range sets {
		if s.name == name {
			return s
		}
	}
	return sets[0]
}

// whole is how many of n elements the kernels do; 0 when there are none.
func whole(n int) int {
	if active == nil {
		return 0
	}
	return n &^ (turn - 1)
}

// maxAbsBits returns the bits of max |x[i]|, 0 for none. Magnitudes order as their bits do, and NaNs come last.
func maxAbsBits(x []float32) uint32 {
	n := whole(len(x))
	if n == 0 {
		return maxAbsGeneric(x)
	}
	return max(active.maxAbs(&x[0], n), maxAbsGeneric(x[n:]))
}

// addRounded computes dst[i] += round(x[i]·2^−exp), to nearest even, where that is below 2^31.
func addRounded(dst []int32, x []float32, exp int8) {
	dst = dst[:len(x)]
	n := whole(len(x))
	if n > 0 {
		active.addRounded(&dst[0], &x[0], n, float32(pow2(-int(exp))))
	}
	addRoundedGeneric(dst[n:], x[n:], pow2(-int(exp)))
}

// addDithered adds the rounded x[i]·inverse, which is below 2^15. One draw serves four elements, lowest bits first.
func addDithered(dst []int32, x []float32, inverse float64, state uint64) {
	dst = dst[:len(x)]
	n := whole(len(x))
	if n > 0 {
		active.addDithered(&dst[0], &x[0], n, inverse, state)
	}
	addDitheredGeneric(dst[n:], x[n:], inverse, state, n/4)
}

func decodeBlock(dst []float32, sums []int32, factor float64) {
	dst = dst[:len(sums)]
	n := whole(len(sums))
	if n > 0 {
		active.decode(&dst[0], &sums[0], n, factor)
	}
	decodeGeneric(dst[n:], sums[n:], factor)
}

// AddInt32 computes dst[i] = own[i] + b[i], where b holds len(dst) little-endian integers of 32 bits. dst may be own.
func AddInt32(dst, own []int32, b []byte) {
	own, b = own[:len(dst)], b[:4*len(dst)]
	n := whole(len(dst))
	if n > 0 {
		active.addInt32(&dst[0], &own[0], &b[0], n)
	}
	for i := n; i < len(dst); i++ {
		dst[i] = own[i] + int32(binary.LittleEndian.Uint32(b[4*i:]))
	}
}

// AddInt16 is AddInt32 for integers of 16 bits.
func AddInt16(dst, own []int32, b []byte) {
	own, b = own[:len(dst)], b[:2*len(dst)]
	n := whole(len(dst))
	if n > 0 {
		active.addInt16(&dst[0], &own[0], &b[0], n)
	}
	for i := n; i < len(dst); i++ {
		dst[i] = own[i] + int32(int16(binary.LittleEndian.Uint16(b[2*i:])))
	}
}

// Widen computes dst[i] = b[i], where b holds len(dst) little-endian integers of 16 bits.
func Widen(dst []int32, b []byte) {
	b = b[:2*len(dst)]
	n := whole(len(dst))
	if n > 0 {
		active.widen(&dst[0], &b[0], n)
	}
	for i := n; i < len(dst); i++ {
		dst[i] = int32(int16(binary.LittleEndian.Uint16(b[2*i:])))
	}
}

// Narrow writes the low 16 bits of v to b, little endian, and reports whether that is all of them.
func Narrow(b []byte, v []int32) (fit bool) {
	b = b[:2*len(v)]
	var lost uint32
	n := whole(len(v))
	if n > 0 {
		lost = active.narrow(&b[0], &v[0], n)
	}
	for i := n; i < len(v); i++ {
		binary.LittleEndian.PutUint16(b[2*i:], uint16(v[i]))
		lost |= uint32(v[i] ^ int32(int16(v[i])))
	}
	return lost == 0
}
