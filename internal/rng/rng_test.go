package rng

import (
	"encoding/binary"
	"hash/fnv"
	"math"
	"sort"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Random123's kat_vectors for philox4x32 with 10 rounds.
func TestPhiloxKnownAnswers(t *testing.T) {
	const all = 0xffffffff
	tests := []struct {
		counter [4]uint32
		key     [2]uint32
		want    [4]uint32
	}{
		{[4]uint32{}, [2]uint32{}, [4]uint32{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
		{[4]uint32{all, all, all, all}, [2]uint32{all, all}, [4]uint32{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
		{[4]uint32{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, [2]uint32{0xa4093822, 0x299f31d0},
			[4]uint32{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
	}
	for _, tt := range tests {
		if got := philox(tt.counter, tt.key); got != tt.want {
			t.Errorf("philox(%x, %x) = %x, want %x", tt.counter, tt.key, got, tt.want)
		}
	}
}

// TestStreamIsStable pins the numbers: a change breaks every run that is resumed.
func TestStreamIsStable(t *testing.T) {
	s := New(Key{Seed: 42, Domain: Noise, Step: 7, Item: 3})
	normals := make([]float32, 4097)
	s.FillNormal(normals)
	h := fnv.New64a()
	if err := binary.Write(h, binary.LittleEndian, normals); err != nil {
		t.Fatal(err)
	}
	if got, want := h.Sum64(), uint64(0xb7dc9e69a9913702); got != want {
		t.Errorf("hash of 4097 normals = %#x, want %#x (the bits of FillNormal changed)", got, want)
	}
	if got, want := New(Key{Seed: 42, Domain: Plan}).Perm(8), []int{6, 1, 2, 4, 5, 7, 0, 3}; !cmp.Equal(got, want) {
		t.Errorf("Perm(8) = %v, want %v", got, want)
	}
}

func TestKeysGiveDifferentStreams(t *testing.T) {
	base := Key{Seed: 1, Domain: Noise, Step: 1, Item: 1}
	keys := map[string]Key{
		"base": base, "seed": {2, Noise, 1, 1}, "seed high": {1 | 1<<40, Noise, 1, 1}, "domain": {1, Latent, 1, 1},
		"step": {1, Noise, 2, 1}, "step high": {1, Noise, 1 | 1<<40, 1}, "item": {1, Noise, 1, 2}, "item high": {1, Noise, 1, 1 | 1<<40},
	}
	seen := map[uint64]string{}
	for name, k := range keys {
		w := New(k).Uint64()
		if other, ok := seen[w]; ok {
			t.Errorf("streams %q and %q start with the same word %#x", name, other, w)
		}
		seen[w] = name
	}
	if a, b := New(base).Uint64(), New(base).Uint64(); a != b {
		t.Errorf("one key gave %#x and %#x", a, b)
	}
}

func TestIntNIsUniform(t *testing.T) {
	const n, draws = 7, 70_000
	s := New(Key{Seed: 5, Domain: Plan})
	var counts [n]int
	for range draws {
		counts[s.IntN(n)]++
	}
	chi := 0.0
	for _, c := range counts {
		d := float64(c) - draws/n
		chi += d * d / (draws / n)
	}
	if chi > 22.46 { // 0.999 quantile of chi² with 6 degrees of freedom.
		t.Errorf("seed 5: chi² of IntN(7) = %.2f, want below 22.46; counts %v", chi, counts)
	}
}

func TestPermIsAPermutation(t *testing.T) {
	for _, n := range []int{0, 1, 2, 100} {
		p := New(Key{Seed: 9, Domain: Plan, Item: uint64(n)}).Perm(n)
		sort.Ints(p)
		for i, v := range p {
			if v != i {
				t.Fatalf("seed 9: Perm(%d) sorted has %d at %d", n, v, i)
			}
		}
	}
}

func TestFillNormalMoments(t *testing.T) {
	const n = 1 << 18
	x := make([]float32, n)
	New(Key{Seed: 11, Domain: Noise}).FillNormal(x)
	var m [5]float64
	for _, v := range x {
		p := 1.0
		for k := range m {
			m[k] += p / n
			p *= float64(v)
		}
	}
	for k, want := range []float64{1, 0, 1, 0, 3} {
		// Five standard errors of a sample moment of the normal distribution.
		if tol := 5 * []float64{0, 1, 1.42, 3.9, 9.8}[k] / math.Sqrt(n); math.Abs(m[k]-want) > tol+1e-12 {
			t.Errorf("seed 11: moment %d = %v, want %v ± %v", k, m[k], want, tol)
		}
	}
}

// TestFunctionsAgainstMath holds the own logarithm, sine and cosine to the standard library.
func TestFunctionsAgainstMath(t *testing.T) {
	s := New(Key{Seed: 13, Domain: Sample})
	inputs := []float64{0, 0x1p-53, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 0.875, 1 - 0x1p-53}
	for range 100_000 {
		inputs = append(inputs, s.Float64())
	}
	for _, u := range inputs {
		if x := 1 - u; math.Abs(ln(x)-math.Log(x)) > 4e-16*math.Abs(math.Log(x)) {
			t.Fatalf("ln(%v) = %v, want %v", x, ln(x), math.Log(x))
		}
		sin, cos := sincosTurn(u)
		wantSin, wantCos := math.Sincos(2 * math.Pi * u)
		if math.Abs(sin-wantSin) > 2e-15 || math.Abs(cos-wantCos) > 2e-15 {
			t.Fatalf("sincosTurn(%v) = %v, %v, want %v, %v", u, sin, cos, wantSin, wantCos)
		}
	}
}

func TestFillNormalOddLength(t *testing.T) {
	long, short := make([]float32, 8), make([]float32, 8)
	New(Key{Seed: 3}).FillNormal(long)
	New(Key{Seed: 3}).FillNormal(short[:5])
	if diff := cmp.Diff(long[:5], short[:5]); diff != "" {
		t.Errorf("a prefix differs (-long +short):\n%s", diff)
	}
	if short[5] != 0 {
		t.Errorf("FillNormal wrote past the end: %v", short[5])
	}
}

func BenchmarkFillNormal(b *testing.B) {
	x := make([]float32, 4096)
	s := New(Key{Seed: 1})
	b.SetBytes(int64(4 * len(x)))
	for b.Loop() {
		s.FillNormal(x)
	}
}
