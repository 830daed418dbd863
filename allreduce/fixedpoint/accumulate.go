package fixedpoint

import (
	"math"

	"yohaku/internal/assert"
)

// roundMagic is 1.5·2^52. For |v| < 2^31, v + roundMagic is v rounded to the nearest even integer,
// whose two's complement then stands in the low 32 bits.
const roundMagic = 0x1.8p52

// Accumulate rounds one micro-batch's gradient x of one tensor onto the grid, to nearest even, and adds it:
//
//	dst[i] += clamp(round(x[i] / 2^exps[i/BlockElements]), ±limit)
//
// dst and x are [n], exps and needed are [Blocks(n)], of the same tensor. needed is raised to what x
// needs; only where that is above exps can the clamp have had an effect. It returns the first index
// of an infinity or a NaN, or −1; a block that holds one adds nothing and needs NonFinite.
// At most Grid.Terms calls may add to one dst before it is cleared. It is for Int32; Int16 takes AccumulateKeyed.
func (g *Grid) Accumulate(dst []int32, x []float32, exps, needed []int8) (firstBad int) {
	assert.That(g.format == Int32, "an int16 grid rounds by key")
	return g.accumulate(dst, x, exps, needed, nil)
}

// accumulate rounds stochastically when d is given.
func (g *Grid) accumulate(dst []int32, x []float32, exps, needed []int8, d *dithering) (firstBad int) {
	checkShapes(len(dst), len(x), len(exps), len(needed))
	firstBad = -1
	for b := range exps {
		lo := b * BlockElements
		hi := min(lo+BlockElements, len(x))
		if bad := g.accumulateBlock(dst[lo:hi], x[lo:hi], exps[b], &needed[b], d, b); bad >= 0 && firstBad < 0 {
			firstBad = lo + bad
		}
	}
	return firstBad
}

func checkShapes(dst, x, exps, needed int) {
	if dst != x || exps != Blocks(x) || needed != exps {
		assert.That(false, "%d sums, %d gradients, %d and %d exponents for %d blocks", dst, x, exps, needed, Blocks(x))
	}
}

func (g *Grid) accumulateBlock(dst []int32, x []float32, exp int8, needed *int8, d *dithering, block int) (bad int) {
	top := maxAbsBits(x)
	if top >= infBits {
		*needed = NonFinite
		return firstNonFinite(x)
	}
	need := needs(math.Float32frombits(top), g.bits, g.limit)
	*needed = max(*needed, need)
	switch inverse := pow2(-int(exp)); {
	case top == 0:
	case need > exp:
		addClamped(dst, x, inverse, g.limit)
	case d != nil:
		addDithered(dst, x, inverse, splitMix(d.state, d.block+block))
	default:
		addRounded(dst, x, exp)
	}
	return -1
}

// infBits is the float32 infinity; every larger magnitude is a NaN.
const infBits = 0x7f800000

func maxAbsGeneric(x []float32) uint32 {
	var a, b, c, d uint32
	for ; len(x) >= 4; x = x[4:] {
		a = max(a, math.Float32bits(x[0])&^(1<<31))
		b = max(b, math.Float32bits(x[1])&^(1<<31))
		c = max(c, math.Float32bits(x[2])&^(1<<31))
		d = max(d, math.Float32bits(x[3])&^(1<<31))
	}
	for _, v := range x {
		a = max(a, math.Float32bits(v)&^(1<<31))
	}
	return max(a, b, c, d)
}

func firstNonFinite(x []float32) int {
	for i, v := range x {
		if math.Float32bits(v)&^(1<<31) >= infBits {
			return i
		}
	}
	return -1
}

// addRoundedGeneric computes dst[i] += round(x[i]·inverse), to nearest even, where |x[i]·inverse| < 2^31.
// The product by a power of two is exact, so a fused multiply-add gives the same bits; so does a float32 product, which is
// inexact only where it is far below ½.
func addRoundedGeneric(dst []int32, x []float32, inverse float64) {
	dst = dst[:len(x)]
	for i, v := range x {
		dst[i] += int32(math.Float64bits(float64(v)*inverse + roundMagic))
	}
}

// addClamped is addRounded for any finite x[i], each term held within ±limit.
func addClamped(dst []int32, x []float32, inverse, limit float64) {
	dst = dst[:len(x)]
	for i, v := range x {
		scaled := max(-limit, min(limit, float64(v)*inverse))
		dst[i] += int32(math.Float64bits(scaled + roundMagic))
	}
}

// Decode writes the gradient that the sums of one tensor stand for:
//
//	dst[i] = float32(scale · 2^exps[i/BlockElements] · sums[i])
//
// computed in float64. dst and sums are [n], exps is [Blocks(n)]. scale is the factor that is applied
// once, after the sum, such as 1/items.
func Decode(dst []float32, sums []int32, exps []int8, scale float32) {
	checkShapes(len(dst), len(sums), len(exps), len(exps))
	for b, e := range exps {
		lo := b * BlockElements
		hi := min(lo+BlockElements, len(sums))
		decodeBlock(dst[lo:hi], sums[lo:hi], float64(scale)*pow2(int(e)))
	}
}

func decodeGeneric(dst []float32, sums []int32, factor float64) {
	dst = dst[:len(sums)]
	for i, s := range sums {
		dst[i] = float32(float64(s) * factor)
	}
}
