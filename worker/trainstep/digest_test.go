package trainstep

import (
	"math"
	"testing"

	"yohaku/model/kernel"
)

// TestDigestSeesEveryPart: one flipped bit in any part of the state changes that part's digest alone.
func TestDigestSeesEveryPart(t *testing.T) {
	trainer := train(t, 2, [][]int{{0, 1, 2, 3, 4, 5}})[0]
	want := trainer.Digest()
	flip := func(x *float32) { *x = math.Float32frombits(math.Float32bits(*x) ^ 1) }
	state := trainer.State()
	last := trainer.Params()[len(trainer.Params())-1].Data
	for _, tc := range []struct {
		part       string
		flip, back func()
	}{
		{"parameters", func() { flip(&last[len(last)-1]) }, func() { flip(&last[len(last)-1]) }},
		{"parameters", func() { flip(&trainer.Params()[0].Data[0]) }, func() { flip(&trainer.Params()[0].Data[0]) }},
		{"first moments", func() { flip(&state.M[7]) }, func() { flip(&state.M[7]) }},
		{"second moments", func() { flip(&state.V[3000]) }, func() { flip(&state.V[3000]) }},
		{"exponents", func() { state.Exponents[1] ^= 1 }, func() { state.Exponents[1] ^= 1 }},
		{"exponents", func() { state.Updates++ }, func() { state.Updates-- }},
	} {
		tc.flip()
		if got := trainer.Digest(); got.Parts(want) != tc.part {
			t.Errorf("digests differ in %q, want %q", got.Parts(want), tc.part)
		}
		tc.back()
	}
	if got := trainer.Digest(); got != want {
		t.Errorf("the same state has digests %v and %v", got, want)
	}
}

// BenchmarkDigest: the state of 18 million parameters.
func BenchmarkDigest(b *testing.B) {
	m := &toy{scale: 1, poison: -1, params: []Param{{Name: "a", Data: make([]float32, 9<<20)}, {Name: "b", Data: make([]float32, 9<<20)}}}
	pool := kernel.NewPool(2)
	defer pool.Close()
	trainer, err := New(m, hyper(), pool)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(3 * 4 * 18 << 20)
	for b.Loop() {
		trainer.Digest()
	}
}
