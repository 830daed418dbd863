package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

// halfSets are the kernel sets with each way of multiplying bf16.
func halfSets() []*kernelSet {
	sets := available()
	for _, s := range sets {
		emulated := *s
		emulated.name += ", emulated"
		emulated.half = emulateHalf(s)
		sets = append(sets, &emulated)
	}
	return sets
}

// rounded replaces the operands by bf16: by themselves rounded, or by stored ones for those in stored.
func rounded(a *GemmArgs, storedA, storedB bool) {
	a.BF16 = true
	if storedA {
		a.HalfA = make([]Half, len(a.A))
		ToHalf(a.HalfA, a.A)
		a.A = nil
	}
	if storedB {
		a.HalfB = make([]Half, len(a.B))
		ToHalf(a.HalfB, a.B)
		a.B = nil
	}
}

// TestHalfGemm: products of bf16 are near those in float64, and threads, storage and the sets with fused multiply-adds
// give the same bits.
func TestHalfGemm(t *testing.T) {
	before := active
	defer func() { active = before }()
	pools := []*Pool{NewPool(1), NewPool(3)}
	first := map[string][]float32{}
	cases := append(gemmCases(), gemmCase{m: 300, n: 190, k: 1777, pad: 1}, gemmCase{m: 190, n: 300, k: 777, transB: true, biased: true})
	for _, set := range halfSets() {
		active = set
		family := "fused"
		if set.mr == genericSet.mr {
			family = "generic"
		}
		for i, c := range cases {
			exact := c.args(5)
			for _, x := range [][]float32{exact.A, exact.B} {
				for j := range x {
					x[j] = widen(roundHalf(x[j]))
				}
			}
			want, magnitude := referenceGemm(exact, append([]float32(nil), exact.C...))
			for form := range 4 {
				a := c.args(5)
				rounded(a, form&1 != 0, form&2 != 0)
				pools[(i+form)%2].Gemm(a)
				name := fmt.Sprintf("seed 5, %s, %s, form %d", set.name, c, form)
				checkProduct(t, name, a, want, magnitude)
				sameBits(t, name, a.C, first, family+c.String())
			}
		}
	}
	for _, p := range pools {
		p.Close()
	}
}

func TestHalfConversions(t *testing.T) {
	before := active
	defer func() { active = before }()
	r := rand.New(rand.NewPCG(9, 9))
	for _, set := range halfSets() {
		active = set
		for _, n := range lengths {
			src := make([]float32, n)
			for i := range src {
				src[i] = math.Float32frombits(r.Uint32())
			}
			copy(src, []float32{1, -0x1.01p0, 0x1.03p0, float32(math.Inf(-1)), 1e-39, -1e-40, math.MaxFloat32})
			dst := make([]Half, n+1)
			dst[n] = 77
			ToHalf(dst[:n], src)
			back := make([]float32, n+1)
			back[n] = sentinel
			FromHalf(back[:n], dst[:n])
			for i, x := range src {
				if h := roundHalf(x); h != dst[i] || math.Float32bits(back[i]) != uint32(h)<<16 {
					t.Fatalf("seed 9, %s, n=%d: %v (%08x) became %04x and %v, want %04x", set.name, n, x, math.Float32bits(x), dst[i], back[i], h)
				}
			}
			if dst[n] != 77 || back[n] != sentinel {
				t.Fatalf("%s, n=%d: written past the end", set.name, n)
			}
		}
	}
}

func TestRoundHalf(t *testing.T) {
	for x, want := range map[float32]Half{
		1: 0x3f80, 0x1.01p0: 0x3f80, 0x1.03p0: 0x3f82, 0x1.0101p0: 0x3f81, -0x1.03p0: 0xbf82,
		math.MaxFloat32: 0x7f80, float32(math.Inf(-1)): 0xff80, 1e-39: 0, float32(math.Copysign(1e-39, -1)): 0x8000,
	} {
		if got := roundHalf(x); got != want {
			t.Errorf("roundHalf(%v) = %04x, want %04x", x, got, want)
		}
	}
	if got := widen(roundHalf(float32(math.NaN()))); got == got {
		t.Errorf("a NaN became %v", got)
	}
}
