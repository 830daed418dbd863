package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

const sentinel = -12345.5

// random returns n numbers in [-1, 1).
func random(r *rand.Rand, n int) []float32 {
	x := make([]float32, n)
	for i := range x {
		x[i] = 2*r.Float32() - 1
	}
	return x
}

// onEverySet runs f once with each kernel set that this processor has.
func onEverySet(t *testing.T, f func(t *testing.T)) {
	before := active
	defer func() { active = before }()
	for _, s := range available() {
		active = s
		t.Run(s.name, f)
	}
}

// element is the value of op(x)[i, j].
func element(x []float32, ld int, trans bool, i, j int) float64 {
	if trans {
		i, j = j, i
	}
	return float64(x[i*ld+j])
}

// referenceGemm is the product in float64 and, beside it, the sum of the terms' magnitudes.
func referenceGemm(a *GemmArgs, c0 []float32) (want, magnitude []float64) {
	want, magnitude = make([]float64, a.M*a.N), make([]float64, a.M*a.N)
	for i := range a.M {
		for j := range a.N {
			var s, m float64
			add := func(x float64) { s, m = s+x, m+math.Abs(x) }
			if a.Accumulate {
				add(float64(c0[i*a.LDC+j]))
			}
			for k := range a.K {
				add(element(a.A, a.LDA, a.TransA, i, k) * element(a.B, a.LDB, a.TransB, k, j))
			}
			if a.Bias != nil {
				add(float64(a.Bias[j]))
			}
			want[i*a.N+j], magnitude[i*a.N+j] = s, m
		}
	}
	return want, magnitude
}

type gemmCase struct {
	m, n, k, pad                       int
	transA, transB, accumulate, biased bool
}

func (c gemmCase) String() string {
	return fmt.Sprintf("%dx%dx%d+%d,ta=%v,tb=%v,acc=%v,bias=%v", c.m, c.n, c.k, c.pad, c.transA, c.transB, c.accumulate, c.biased)
}

// args makes the case's operands from a seed; the elements of C between and past its rows are sentinels.
func (c gemmCase) args(seed uint64) *GemmArgs {
	r := rand.New(rand.NewPCG(seed, 1))
	a := &GemmArgs{TransA: c.transA, TransB: c.transB, M: c.m, N: c.n, K: c.k, Accumulate: c.accumulate}
	ar, ac, br, bc := c.m, c.k, c.k, c.n
	if c.transA {
		ar, ac = ac, ar
	}
	if c.transB {
		br, bc = bc, br
	}
	a.LDA, a.LDB, a.LDC = ac+c.pad, bc+c.pad, c.n+c.pad
	tight := func(rows, cols, ld int) int { return max(0, (rows-1)*ld+cols) }
	a.A, a.B = random(r, tight(ar, ac, a.LDA)), random(r, tight(br, bc, a.LDB))
	a.C = random(r, c.m*a.LDC+64)
	for i := range a.C {
		if i >= c.m*a.LDC || i%a.LDC >= c.n {
			a.C[i] = sentinel
		}
	}
	if c.biased {
		a.Bias = random(r, c.n)
	}
	return a
}

func gemmCases() []gemmCase {
	sizes := [][3]int{{1, 1, 1}, {1, 33, 7}, {14, 32, 16}, {13, 31, 17}, {15, 65, 3}, {77, 64, 64}, {29, 5, 530}, {5, 29, 1030}, {3, 100, 4}, {100, 3, 8}, {131, 67, 61}, {64, 200, 1100}, {4, 4, 0}, {9, 4, 0}, {0, 3, 4}, {33, 9, 1024}}
	var out []gemmCase
	for i, s := range sizes {
		for form := range 4 {
			c := gemmCase{m: s[0], n: s[1], k: s[2], pad: (i + form) % 3, transA: form&1 != 0, transB: form&2 != 0}
			c.accumulate, c.biased = (i+form)%2 == 0, (i+form)%3 == 0
			out = append(out, c)
		}
	}
	return out
}

func TestGemmAgainstFloat64(t *testing.T) {
	onEverySet(t, func(t *testing.T) {
		pool := NewPool(2)
		defer pool.Close()
		for _, c := range gemmCases() {
			a := c.args(7)
			want, magnitude := referenceGemm(a, append([]float32(nil), a.C...))
			pool.Gemm(a)
			checkProduct(t, c.String(), a, want, magnitude)
		}
	})
}

// checkProduct holds C to the a-priori bound of a sum of K+2 terms and its surroundings to the sentinel.
func checkProduct(t *testing.T, name string, a *GemmArgs, want, magnitude []float64) {
	t.Helper()
	for i, got := range a.C {
		row, col := i/max(1, a.LDC), i%max(1, a.LDC)
		if row >= a.M || col >= a.N {
			if got != sentinel {
				t.Fatalf("%s: element %d,%d outside C is %v", name, row, col, got)
			}
			continue
		}
		at := row*a.N + col
		if bound := magnitude[at] * float64(a.K+3) * 0x1p-24; math.Abs(float64(got)-want[at]) > bound {
			t.Fatalf("%s: C[%d,%d] = %v, want %v within %v", name, row, col, got, want[at], bound)
		}
	}
}

// TestGemmBits: threads, and the sets with fused multiply-adds, give the same bits.
func TestGemmBits(t *testing.T) {
	pools := []*Pool{NewPool(1), NewPool(2), NewPool(3)}
	cases := append(gemmCases(), gemmCase{m: 300, n: 190, k: 777, pad: 1}, gemmCase{m: 190, n: 300, k: 777, transB: true, biased: true})
	first := map[string][]float32{}
	onEverySet(t, func(t *testing.T) {
		family := "fused"
		if active == genericSet {
			family = "generic"
		}
		for _, c := range cases {
			for _, p := range pools {
				a := c.args(9)
				p.Gemm(a)
				sameBits(t, fmt.Sprintf("%s, %d threads", c, p.Threads()), a.C, first, family+c.String())
			}
			a := c.args(9)
			GemmSerial(a, new(Scratch))
			sameBits(t, c.String()+", serial", a.C, first, family+c.String())
		}
	})
	for _, p := range pools {
		p.Close()
	}
}

// sameBits compares got with the first result seen under key.
func sameBits(t *testing.T, name string, got []float32, first map[string][]float32, key string) {
	t.Helper()
	want, ok := first[key]
	if !ok {
		first[key] = append([]float32(nil), got...)
		return
	}
	for i := range got {
		if math.Float32bits(got[i]) != math.Float32bits(want[i]) {
			t.Fatalf("%s: element %d is %v (%08x), want %v (%08x)", name, i, got[i], math.Float32bits(got[i]), want[i], math.Float32bits(want[i]))
		}
	}
}

func TestGemmDoesNotAllocate(t *testing.T) {
	onEverySet(t, func(t *testing.T) {
		pool := NewPool(2)
		defer pool.Close()
		for _, c := range []gemmCase{{m: 130, n: 140, k: 150}, {m: 9, n: 7, k: 5, transA: true, transB: true}} {
			a, s := c.args(3), new(Scratch)
			pool.Gemm(a)
			GemmSerial(a, s)
			if got := testing.AllocsPerRun(20, func() { pool.Gemm(a); GemmSerial(a, s) }); got != 0 {
				t.Errorf("%s: %v allocations, want 0", c, got)
			}
		}
	})
}

func TestGemmPanicsOnShortSlices(t *testing.T) {
	a := gemmCase{m: 3, n: 4, k: 5}.args(1)
	a.B = a.B[:len(a.B)-1]
	defer func() {
		if recover() == nil {
			t.Error("a B of one element less than its shape was accepted")
		}
	}()
	GemmSerial(a, new(Scratch))
}
