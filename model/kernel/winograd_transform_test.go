package kernel

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// transformCases call every transform on n columns and return all that it may write, with what lies around.
var transformCases = map[string]func(r *rand.Rand, n int) []float32{
	"tileInput": func(r *rand.Rand, n int) []float32 {
		step, src := n+3, pointers(r, 16, n)
		dst := filled(16 * step)
		active.vectors.tileInput(&dst[0], &src[0], n, 4*step)
		return dst
	},
	"tileGradient": func(r *rand.Rand, n int) []float32 {
		step, src := n+3, pointers(r, 4, n)
		dst := filled(16 * step)
		active.vectors.tileGradient(&dst[0], &src[0], n, 4*step)
		return dst
	},
	"tileOutput": func(r *rand.Rand, n int) []float32 {
		step, old := n+3, pointers(r, 4, n)
		src, bias, dst := random(r, 16*step), random(r, n), filled(4*step)
		out := []*float32{&dst[0], &dst[step], &dst[2*step], &dst[3*step]}
		active.vectors.tileOutput(&out[0], &old[0], &src[0], &bias[0], n, 4*step)
		return dst
	},
	"weightPoints": func(r *rand.Rand, n int) []float32 {
		const rows = 3
		step := n + 3
		src, dst := random(r, 9*rows*step), filled(16*rows*step)
		active.vectors.weightPoints(&dst[0], &src[0], rows, n, 4*step, 4*step, 4*rows*step, 4*rows*step)
		return dst
	},
	"weightTaps": func(r *rand.Rand, n int) []float32 {
		step := n + 3
		src, old, dst := random(r, 16*step), random(r, 9*step), filled(9*step)
		active.vectors.weightTaps(&dst[0], &old[0], &src[0], n, 4*step, 4*step, 4*step)
		return dst
	},
}

func pointers(r *rand.Rand, count, n int) []*float32 {
	out := make([]*float32, count)
	for i := range out {
		out[i] = &random(r, n)[0]
	}
	return out
}

func filled(n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = sentinel
	}
	return x
}

// TestTransformsEqualTwins: every set gives the bits of the Go twins and leaves the elements between rows alone.
func TestTransformsEqualTwins(t *testing.T) {
	before := active
	defer func() { active = before }()
	first := map[string][]float32{}
	for _, set := range append([]*kernelSet{genericSet}, available()...) {
		active = set
		for name, f := range transformCases {
			for _, n := range lengths[:len(lengths)-1] {
				key := fmt.Sprintf("seed 21, %s, n=%d", name, n)
				sameBits(t, set.name+" "+key, f(rand.New(rand.NewPCG(21, 1)), n), first, key)
			}
		}
	}
}
