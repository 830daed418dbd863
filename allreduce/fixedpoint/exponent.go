package fixedpoint

import "math"

// Exponents holds one power of two for each block.
type Exponents []int8

const (
	// MinExponent is the smallest quantum's exponent: 2^−126, the smallest normal float32. It is also
	// what a block of zeros needs.
	MinExponent int8 = -126
	// NonFinite as a needed exponent says that the block held an infinity or a NaN somewhere. It is
	// above every exponent that finite values need, so it survives being combined by max.
	NonFinite int8 = 127
)

// NewNeeded returns the needed exponents of the given number of blocks before anything was seen.
func NewNeeded(blocks int) Exponents {
	e := make(Exponents, blocks)
	ResetNeeded(e)
	return e
}

// ResetNeeded forgets what was seen, for the next step.
func ResetNeeded(needed []int8) {
	for i := range needed {
		needed[i] = MinExponent
	}
}

// Combine raises dst[i] to src[i] where that is larger. Both have the same length.
func Combine(dst, src []int8) {
	src = src[:len(dst)]
	for i, s := range src {
		dst[i] = max(dst[i], s)
	}
}

// Overflowed reports whether a block needs a larger exponent than the grid gave it, so that the
// sums are void and the step is to be computed again (Grid.Raise). A NonFinite block counts too,
// but no grid holds it: check FirstNonFinite before.
func Overflowed(exps, needed []int8) bool {
	needed = needed[:len(exps)]
	for i, e := range exps {
		if needed[i] > e {
			return true
		}
	}
	return false
}

// FirstNonFinite returns the first block that held an infinity or a NaN, or −1.
func FirstNonFinite(needed []int8) int {
	for i, e := range needed {
		if e == NonFinite {
			return i
		}
	}
	return -1
}

// pow2 returns 2^e for −1022 ≤ e ≤ 1023.
func pow2(e int) float64 { return math.Float64frombits(uint64(e+1023) << 52) }

// needs returns the smallest exponent E ≥ MinExponent with maxAbs ≤ limit·2^E, where maxAbs ≥ 0 is
// finite and limit = 2^bits − 1.
func needs(maxAbs float32, bits int, limit float64) int8 {
	if maxAbs == 0 {
		return MinExponent
	}
	_, e := math.Frexp(float64(maxAbs)) // maxAbs = f·2^e, ½ ≤ f < 1.
	e = max(e-bits, int(MinExponent))
	if float64(maxAbs) > limit*pow2(e) {
		e++
	}
	return int8(e)
}
