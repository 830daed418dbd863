package fixedpoint

import (
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// lens has empty, tiny, exact, and ragged tensors.
var lens = []int{0, 1, 3, 1023, 1024, 1025, 0, 5000}

func newGrid(t testing.TB, f Format, terms int) *Grid {
	t.Helper()
	g, err := NewGrid(NewLayout(lens), f, terms)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// microBatches draws terms gradients whose blocks have magnitudes from 2^-40 to 2^10, some zero.
func microBatches(rng *rand.Rand, l *Layout, terms int) [][]float32 {
	out := make([][]float32, terms)
	for m := range out {
		out[m] = make([]float32, l.Elements())
		for b := range l.Blocks() {
			lo, hi := l.Block(b)
			size := math.Ldexp(1, rng.IntN(50)-40)
			if rng.IntN(8) == 0 {
				size = 0
			}
			for i := lo; i < hi; i++ {
				out[m][i] = float32(rng.NormFloat64() * size)
			}
		}
	}
	return out
}

// accumulate adds the gradient x of all tensors and returns the first bad element of the slab.
func accumulate(g *Grid, dst []int32, x []float32, exps, needed []int8) int {
	bad := -1
	for i := range g.Layout().Tensors() {
		t := g.Layout().Tensor(i)
		e, b := t.Offset+t.Len, t.Block+t.Blocks
		if at := g.Accumulate(dst[t.Offset:e], x[t.Offset:e], exps[t.Block:b], needed[t.Block:b]); at >= 0 && bad < 0 {
			bad = t.Offset + at
		}
	}
	return bad
}

func calibrate(g *Grid, batches [][]float32) Exponents {
	needed := NewNeeded(g.Layout().Blocks())
	scratch := make([]int32, g.Layout().Elements())
	exps := NewNeeded(g.Layout().Blocks())
	for _, x := range batches {
		accumulate(g, scratch, x, exps, needed)
		clear(scratch)
	}
	return g.Calibrate(needed)
}

func TestLayout(t *testing.T) {
	l := NewLayout([]int{3, 0, 1024, 1025})
	got := []any{l.Tensors(), l.Elements(), l.Blocks(), l.Tensor(1), l.Tensor(3), l.starts}
	want := []any{4, 2052, 4, Tensor{Offset: 3, Block: 1}, Tensor{Offset: 1027, Len: 1025, Block: 2, Blocks: 2}, []int{0, 3, 1027, 2051, 2052}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if l := NewLayout(nil); l.Elements() != 0 || l.Blocks() != 0 {
		t.Errorf("empty layout has %d elements, %d blocks", l.Elements(), l.Blocks())
	}
}

func TestNewGridRefuses(t *testing.T) {
	for _, c := range []struct {
		f     Format
		terms int
		ok    bool
	}{{Int32, 0, false}, {Int32, 1, true}, {Int32, 256, true}, {Int32, 257, false}, {Int16, 16, true}, {Int16, 17, false}, {9, 1, false}} {
		if _, err := NewGrid(NewLayout(nil), c.f, c.terms); (err == nil) != c.ok {
			t.Errorf("NewGrid(%d, %d) = %v, want ok %v", c.f, c.terms, err, c.ok)
		}
	}
}

// TestGroupingChangesNoBit: micro-batches split over ranks in any way and order give the same sums and exponents.
func TestGroupingChangesNoBit(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 1))
		terms := 1 + rng.IntN(12)
		g := newGrid(t, Int32, terms)
		batches := microBatches(rng, g.Layout(), terms)
		exps := calibrate(g, batches)
		wantSums, wantNeeded := group(g, batches, exps, rng.Perm(terms), 1)
		for world := 1; world <= 5; world++ {
			sums, needed := group(g, batches, exps, rng.Perm(terms), world)
			if !slices.Equal(sums, wantSums) || !slices.Equal(needed, wantNeeded) {
				t.Errorf("seed %d: world %d gives other integers", seed, world)
			}
		}
	}
}

func group(g *Grid, batches [][]float32, exps Exponents, order []int, world int) ([]int32, Exponents) {
	total, needed := make([]int32, g.Layout().Elements()), NewNeeded(len(exps))
	for rank := range world {
		sums, own := make([]int32, len(total)), NewNeeded(len(exps))
		for i := rank; i < len(order); i += world {
			accumulate(g, sums, batches[order[i]], exps, own)
		}
		for i, s := range sums {
			total[i] += s
		}
		Combine(needed, own)
	}
	return total, needed
}

// TestErrorBound: the decoded sum is within M/2 quanta of the exact sum, and the quantum is
// 2^-(31-8-log2 M) of the block's maximum or less, but for the tensor's floor.
func TestErrorBound(t *testing.T) {
	for _, terms := range []int{1, 2, 3, 8, 100, 256} {
		rng := rand.New(rand.NewPCG(7, uint64(terms)))
		g := newGrid(t, Int32, terms)
		batches := microBatches(rng, g.Layout(), terms)
		exps := calibrate(g, batches)
		sums, needed := group(g, batches, exps, rng.Perm(terms), 3)
		if Overflowed(exps, needed) {
			t.Fatalf("terms %d: calibrated grid overflowed", terms)
		}
		for b := range g.Layout().Blocks() {
			lo, hi := g.Layout().Block(b)
			quantum := math.Ldexp(1, int(exps[b]))
			for i := lo; i < hi; i++ {
				exact := new(big.Float).SetPrec(400)
				for _, x := range batches {
					exact.Add(exact, big.NewFloat(float64(x[i])))
				}
				diff, _ := exact.Sub(exact, big.NewFloat(float64(sums[i])*quantum)).Float64()
				if math.Abs(diff) > float64(terms)/2*quantum {
					t.Fatalf("terms %d: element %d is %g quanta off", terms, i, diff/quantum)
				}
			}
		}
	}
}

func TestQuantumUnderTheBlockMaximum(t *testing.T) {
	g, err := NewGrid(NewLayout([]int{1024}), Int32, 8)
	if err != nil {
		t.Fatal(err)
	}
	needed := NewNeeded(1)
	x := make([]float32, 1024)
	x[5] = -1.75
	g.Accumulate(make([]int32, 1024), x, NewNeeded(1), needed)
	// 1.75 < 2^1 and a term has 31-3 = 28 bits: needed 1-28, and 8 bits for growth.
	if e := g.Calibrate(needed); needed[0] != -27 || e[0] != -19 {
		t.Errorf("needed %d, exponent %d; want -27, -19", needed[0], e[0])
	}
}

// TestNoWrapAtTheLimit: M terms at the largest value that raises no overflow add up without wrapping,
// and one float above it raises one.
func TestNoWrapAtTheLimit(t *testing.T) {
	for _, c := range []struct {
		f     Format
		terms int
	}{{Int32, 1}, {Int32, 2}, {Int32, 5}, {Int32, 128}, {Int32, 200}, {Int32, 256}} {
		g, err := NewGrid(NewLayout([]int{2}), c.f, c.terms)
		if err != nil {
			t.Fatal(err)
		}
		exps := Exponents{-20}
		limit := float32(g.limit * math.Ldexp(1, -20))
		if float64(limit) > g.limit*math.Ldexp(1, -20) {
			limit = math.Nextafter32(limit, 0)
		}
		sums, needed := make([]int32, 2), NewNeeded(1)
		var want int64
		for range c.terms {
			g.Accumulate(sums, []float32{limit, -limit}, exps, needed)
			want += int64(math.RoundToEven(float64(limit) * (1 << 20)))
		}
		if Overflowed(exps, needed) || int64(sums[0]) != want || int64(sums[1]) != -want {
			t.Errorf("terms %d: sums %v, want ±%d; needed %v", c.terms, sums, want, needed)
		}
		g.Accumulate(make([]int32, 2), []float32{math.Nextafter32(limit, math.MaxFloat32), 0}, exps, needed)
		if !Overflowed(exps, needed) {
			t.Errorf("terms %d: one float above the limit is no overflow", c.terms)
		}
	}
}

func TestOverflowSaturatesAndRaises(t *testing.T) {
	g := newGrid(t, Int32, 256)
	l := g.Layout()
	exps := NewNeeded(l.Blocks())
	x := make([]float32, l.Elements())
	for i := range x {
		x[i] = []float32{math.MaxFloat32, -math.MaxFloat32, 1e-30, 0}[i%4]
	}
	sums, needed := make([]int32, len(x)), NewNeeded(l.Blocks())
	for range 256 {
		accumulate(g, sums, x, exps, needed)
	}
	limit := int32(g.limit)
	if sums[0] != 256*limit || sums[1] != -256*limit || sums[2] != 256*limit || sums[3] != 0 {
		t.Errorf("sums %v, want ±256·%d", sums[:4], limit)
	}
	if !Overflowed(exps, needed) || FirstNonFinite(needed) != -1 {
		t.Errorf("overflowed %v, non-finite %d", Overflowed(exps, needed), FirstNonFinite(needed))
	}
	g.Raise(exps, exps, needed)
	if Overflowed(exps, needed) {
		t.Error("overflowed after Raise")
	}
}

func TestRaiseKeepsTheOthers(t *testing.T) {
	g, _ := NewGrid(NewLayout([]int{4096}), Int32, 8)
	got := make(Exponents, 4)
	g.Raise(got, []int8{-20, -20, -20, -20}, []int8{-20, -19, NonFinite, MinExponent})
	if diff := cmp.Diff(Exponents{-20, -11, -20, -20}, got); diff != "" {
		t.Error(diff)
	}
}

func TestNext(t *testing.T) {
	g, _ := NewGrid(NewLayout([]int{3 * 1024, 1024, 2 * 1024}), Int32, 8)
	got := make(Exponents, 6)
	prev := []int8{-50, -50, -50, -51, -52, -53}
	g.Next(got, prev, []int8{-30, -60, MinExponent, MinExponent, NonFinite, -40})
	// -30+8; the floor -30+8-8 twice; a zero tensor and a non-finite block keep theirs; -40+8.
	if diff := cmp.Diff(Exponents{-22, -30, -30, -51, -52, -32}, got); diff != "" {
		t.Error(diff)
	}
	g.Next(prev, prev, []int8{105, 0, 0, MinExponent, -125, MinExponent})
	if diff := cmp.Diff([]int8{113, 105, 105, -51, -117, -118}, prev); diff != "" {
		t.Error(diff)
	}
}

// TestZeroBlockWakes: a block that was zero may grow to its tensor's maximum without an overflow.
func TestZeroBlockWakes(t *testing.T) {
	for _, c := range []struct {
		f    Format
		wake float64
	}{{Int32, 1}, {Int16, 1. / 16}} {
		g, _ := NewGrid(NewLayout([]int{2048}), c.f, 8)
		for _, top := range []float64{1, 1.999, 3e-20, 1e30} {
			exps := g.Calibrate([]int8{needs(float32(top), g.bits, g.limit), MinExponent})
			if need := needs(float32(top*c.wake), g.bits, g.limit); need > exps[1] {
				t.Errorf("%s: waking at %g of %g needs %d, grid has %d", c.f, c.wake, top, need, exps[1])
			}
		}
	}
}

func TestNonFinite(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	for _, bad := range []float32{inf, -inf, nan, math.Float32frombits(0xffc00001), math.Float32frombits(0x7f800001)} {
		g := newGrid(t, Int32, 8)
		l := g.Layout()
		x := make([]float32, l.Elements())
		for i := range x {
			x[i] = 1
		}
		last := l.Tensor(7)
		at := last.Offset + 1024 + 37
		x[at], x[at+1], x[at+2000] = bad, bad, bad
		needed, exps := NewNeeded(l.Blocks()), make(Exponents, l.Blocks())
		sums := make([]int32, len(x))
		if got := accumulate(g, sums, x, exps, needed); got != at {
			t.Errorf("%v: first bad %d, want %d", bad, got, at)
		}
		if got := FirstNonFinite(needed); got != last.Block+1 || !Overflowed(exps, needed) {
			t.Errorf("%v: non-finite block %d, want %d", bad, got, last.Block+1)
		}
		if sums[at-1] != 0 || sums[0] != 1 {
			t.Errorf("%v: block of the bad element added %d, want 0; the first block %d, want 1", bad, sums[at-1], sums[0])
		}
	}
}

func TestDenormals(t *testing.T) {
	g, _ := NewGrid(NewLayout([]int{4}), Int32, 1)
	tiny := float32(math.SmallestNonzeroFloat32)
	x := []float32{tiny, -tiny, 0x1p-126, 0x1.8p-126}
	sums, needed, exps := make([]int32, 4), NewNeeded(1), NewNeeded(1)
	if bad := g.Accumulate(sums, x, exps, needed); bad != -1 || needed[0] != MinExponent {
		t.Fatalf("bad %d, needed %d", bad, needed[0])
	}
	got := make([]float32, 4)
	Decode(got, sums, exps, 1)
	// 1.5 quanta is a tie and goes to the even 2.
	if diff := cmp.Diff([]float32{0, 0, 0x1p-126, 0x1p-125}, got); diff != "" {
		t.Error(diff)
	}
}

// TestRoundsToNearestEven compares with math.RoundToEven, ties included.
func TestRoundsToNearestEven(t *testing.T) {
	g, _ := NewGrid(NewLayout([]int{3001}), Int32, 1)
	x := make([]float32, 3001)
	for i := range x {
		x[i] = float32(i-1500) * 0.25
	}
	sums, exps := make([]int32, len(x)), make(Exponents, 3)
	g.Accumulate(sums, x, exps, NewNeeded(3))
	for i, v := range x {
		if want := int32(math.RoundToEven(float64(v))); sums[i] != want {
			t.Fatalf("round(%g) = %d, want %d", v, sums[i], want)
		}
	}
}

func TestDecode(t *testing.T) {
	n := BlockElements + 3
	sums, got := make([]int32, n), make([]float32, n)
	for i := range sums {
		sums[i] = int32(i) - 500
	}
	sums[0], sums[n-1] = math.MaxInt32, math.MinInt32
	exps := []int8{-10, 7}
	Decode(got, sums, exps, 0.125)
	for i, s := range sums {
		want := float32(math.Ldexp(float64(s)*0.125, int(exps[i/BlockElements])))
		if got[i] != want {
			t.Fatalf("decode %d = %g, want %g", i, got[i], want)
		}
	}
}

// TestGrowthBits: gradients may grow 2^8 (Int32) or 2^4 (Int16) from one step to the next without an overflow.
func TestGrowthBits(t *testing.T) {
	for f, factor := range map[Format]float32{Int32: 256, Int16: 16} {
		g, _ := NewGrid(NewLayout([]int{1}), f, 8)
		for _, x := range []float32{1, 1.999, 1e-10, 12345} {
			exps := g.Calibrate([]int8{needs(x, g.bits, g.limit)})
			if need := needs(x*factor, g.bits, g.limit); need > exps[0] {
				t.Errorf("%s: %g·%g needs %d, grid has %d", f, x, factor, need, exps[0])
			}
			if need := needs(x*factor*4, g.bits, g.limit); need <= exps[0] {
				t.Errorf("%s: %g·%g is no overflow", f, x, factor*4)
			}
		}
	}
}

func TestAccumulateAllocatesNothing(t *testing.T) {
	g, _ := NewGrid(NewLayout([]int{5000}), Int32, 8)
	sums, x, exps, needed := make([]int32, 5000), make([]float32, 5000), NewNeeded(5), NewNeeded(5)
	if n := testing.AllocsPerRun(10, func() { g.Accumulate(sums, x, exps, needed) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
	g, _ = NewGrid(g.Layout(), Int16, 8)
	x[0] = 1e-37
	if n := testing.AllocsPerRun(10, func() { g.AccumulateKeyed(sums, x, exps, needed, Rounding{}) }); n > 1 { // The stream that keys the call.
		t.Errorf("Int16: %v allocations", n)
	}
}

func BenchmarkFixedPoint(b *testing.B) {
	const n = 4 << 20
	g, _ := NewGrid(NewLayout([]int{n}), Int32, 8)
	x, sums := make([]float32, n), make([]int32, n)
	for i := range x {
		x[i] = float32(i%1000) - 500
	}
	needed := NewNeeded(Blocks(n))
	g.Accumulate(sums, x, needed, needed)
	exps := g.Calibrate(needed)
	for name, f := range map[string]func(){
		"accumulate": func() { g.Accumulate(sums, x, exps, needed) },
		"decode":     func() { Decode(x, sums, exps, 1) },
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(4 * n)
			for b.Loop() {
				f()
			}
		})
	}
}
