package fixedpoint

import (
	"yohaku/internal/assert"
	"yohaku/internal/rng"
)

// Rounding keys the stochastic rounding of one tensor's gradient in one micro-batch.
type Rounding struct {
	Seed, Step uint64
	MicroBatch int // Of the step, in the plan's order, whoever computes it.
	Block      int // The tensor's first block in the layout (Tensor.Block).
}

// dithering is where the draws of one call come from.
type dithering struct {
	state uint64
	block int // The tensor's first.
}

// AccumulateKeyed is Accumulate for a grid of either format. Int32 does not use the key. Int16 rounds
// stochastically, so that what is below a quantum is right on average:
//
//	q[i] = ⌊x[i]/2^E + (u[i] + ½)/2^16⌋
//
// with u[i] uniform in [0, 2^16), drawn by (seed, step, micro-batch, block, element of the block). The error is
// below one quantum; a multiple of the quantum stays as it is. Blocks that overflow are clamped as in Accumulate.
func (g *Grid) AccumulateKeyed(dst []int32, x []float32, exps, needed []int8, k Rounding) (firstBad int) {
	if g.format == Int32 {
		return g.Accumulate(dst, x, exps, needed)
	}
	return g.accumulate(dst, x, exps, needed, &dithering{state: k.state(), block: k.Block})
}

// state returns the start of the micro-batch's draws. Philox alone would cost ten times the rounding; it
// gives each micro-batch of a step a 64-bit state for SplitMix64, whose draws are the blocks' states.
func (k *Rounding) state() uint64 {
	if k.MicroBatch < 0 || k.Block < 0 {
		assert.That(false, "rounding key %+v", *k)
	}
	return rng.New(rng.Key{Seed: k.Seed, Domain: rng.Rounding, Step: k.Step, Item: uint64(k.MicroBatch)}).Uint64()
}

// splitMix returns draw number i of a state.
//
// Source: Steele, Lea, Flood, Fast splittable pseudorandom number generators (OOPSLA 2014).
func splitMix(state uint64, i int) uint64 {
	z := state + uint64(i+1)*0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// addDitheredGeneric is addDithered from the given draw on.
func addDitheredGeneric(dst []int32, x []float32, inverse float64, state uint64, draw int) {
	for ; len(x) >= 4 && len(dst) >= 4; dst, x = dst[4:], x[4:] {
		u := splitMix(state, draw)
		dst[0] += dither(float64(x[0])*inverse, u&0xffff)
		dst[1] += dither(float64(x[1])*inverse, u>>16&0xffff)
		dst[2] += dither(float64(x[2])*inverse, u>>32&0xffff)
		dst[3] += dither(float64(x[3])*inverse, u>>48)
		draw++
	}
	u := splitMix(state, draw)
	for i, v := range x {
		dst[i] += dither(float64(v)*inverse, u>>(16*i)&0xffff)
	}
}

// dither returns ⌊scaled + (u + ½)/2^16⌋ for |scaled| < 2^15. The shift makes truncation a floor. The products
// are by powers of two and exact, so a fused multiply-add gives the same bits.
func dither(scaled float64, u uint64) int32 {
	const shift = 1 << 16
	return int32(scaled+(float64(int32(u))+0.5)*(1./(1<<16))+shift) - shift
}
