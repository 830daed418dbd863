package fixedpoint

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestInt16GroupingChangesNoBit: draws belong to the micro-batch and the element, not to the rank.
func TestInt16GroupingChangesNoBit(t *testing.T) {
	const terms = 16
	for seed := range uint64(10) {
		rng := rand.New(rand.NewPCG(seed, 4))
		g := newGrid(t, Int16, terms)
		batches := microBatches(rng, g.Layout(), terms)
		exps := NewNeeded(g.Layout().Blocks())
		_, needed := groupKeyed(g, batches, exps, rng.Perm(terms), 1)
		exps = g.Calibrate(needed)
		want, _ := groupKeyed(g, batches, exps, rng.Perm(terms), 1)
		for world := 2; world <= 5; world++ {
			got, needed := groupKeyed(g, batches, exps, rng.Perm(terms), world)
			if !slices.Equal(got, want) || Overflowed(exps, needed) {
				t.Errorf("seed %d: world %d gives other integers", seed, world)
			}
		}
		if top := slices.Max(want); top > math.MaxInt16 || slices.Min(want) < -math.MaxInt16 {
			t.Errorf("seed %d: sums up to %d do not fit int16", seed, top)
		}
		checkQuanta(t, g, batches, exps, want)
	}
}

func groupKeyed(g *Grid, batches [][]float32, exps Exponents, order []int, world int) ([]int32, Exponents) {
	total, needed := make([]int32, g.Layout().Elements()), NewNeeded(len(exps))
	for rank := range world {
		sums := make([]int32, len(total))
		for i := rank; i < len(order); i += world {
			m := order[i]
			for j := range g.Layout().Tensors() {
				t := g.Layout().Tensor(j)
				e, b := t.Offset+t.Len, t.Block+t.Blocks
				g.AccumulateKeyed(sums[t.Offset:e], batches[m][t.Offset:e], exps[t.Block:b], needed[t.Block:b], Rounding{Seed: 1, Step: 2, MicroBatch: m, Block: t.Block})
			}
		}
		for i, s := range sums {
			total[i] += s
		}
	}
	return total, needed
}

// checkQuanta: every sum is within a quantum a term of the exact one.
func checkQuanta(t *testing.T, g *Grid, batches [][]float32, exps Exponents, sums []int32) {
	t.Helper()
	for b := range g.Layout().Blocks() {
		lo, hi := g.Layout().Block(b)
		for i := lo; i < hi; i++ {
			exact := 0.
			for _, x := range batches {
				exact += math.Ldexp(float64(x[i]), -int(exps[b]))
			}
			if diff := math.Abs(exact - float64(sums[i])); diff > float64(len(batches))*(1+1e-6) {
				t.Fatalf("element %d is %g quanta off", i, diff)
			}
		}
	}
}

// TestDitherIsUnbiased: the mean over all draws is the value, and multiples of the quantum stay.
func TestDitherIsUnbiased(t *testing.T) {
	for _, v := range []float64{0, 1, -7, 2047, -2047, 0.25, -0.25, 0.5, 3.14159, -1000.9, 1e-3} {
		sum := 0.
		for u := range uint64(1 << 16) {
			q := float64(dither(v, u))
			if math.Abs(q-v) >= 1 {
				t.Fatalf("dither(%g, %d) = %g", v, u, q)
			}
			sum += q
		}
		if mean := sum / (1 << 16); math.Abs(mean-v) > 1./(1<<17) {
			t.Errorf("mean of dither(%g) is %g", v, mean)
		}
	}
}

// TestInt16Overflow: what is beyond the grid saturates and is reported.
func TestInt16Overflow(t *testing.T) {
	g, err := NewGrid(NewLayout([]int{3}), Int16, 16)
	if err != nil {
		t.Fatal(err)
	}
	sums, needed, exps := make([]int32, 3), NewNeeded(1), Exponents{0}
	for m := range 16 {
		g.AccumulateKeyed(sums, []float32{3e38, -3e38, 0}, exps, needed, Rounding{MicroBatch: m})
	}
	if want := []int32{16 * 2047, -16 * 2047, 0}; !slices.Equal(sums, want) || !Overflowed(exps, needed) {
		t.Errorf("sums %v, want %v and an overflow", sums, want)
	}
	if bad := g.AccumulateKeyed(sums, []float32{0, 0, float32(math.NaN())}, exps, needed, Rounding{}); bad != 2 || FirstNonFinite(needed) != 0 {
		t.Errorf("NaN at %d, block %d", bad, FirstNonFinite(needed))
	}
}

func TestRoundingKeysDiffer(t *testing.T) {
	g, _ := NewGrid(NewLayout([]int{1024}), Int16, 1)
	x := make([]float32, 1024)
	for i := range x {
		x[i] = 0.5
	}
	seen := map[string]Rounding{}
	for _, k := range []Rounding{{}, {Seed: 1}, {Step: 1}, {MicroBatch: 1}, {Block: 1}} {
		sums := make([]int32, 1024)
		g.AccumulateKeyed(sums, x, Exponents{0}, NewNeeded(1), k)
		bits := make([]byte, 1024)
		for i, s := range sums {
			bits[i] = byte('0' + s)
		}
		if other, twice := seen[string(bits)]; twice {
			t.Errorf("%+v rounds as %+v does", k, other)
		}
		seen[string(bits)] = k
	}
}

func BenchmarkAccumulateInt16(b *testing.B) {
	const n = 1 << 20
	g, _ := NewGrid(NewLayout([]int{n}), Int16, 8)
	x, sums, needed := make([]float32, n), make([]int32, n), NewNeeded(Blocks(n))
	for i := range x {
		x[i] = float32(i%1000) - 500
	}
	exps := make(Exponents, Blocks(n))
	b.SetBytes(4 * n)
	for b.Loop() {
		g.AccumulateKeyed(sums, x, exps, needed, Rounding{})
	}
}
