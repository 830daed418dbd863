package fixedpoint

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// lengths have no, some and many whole turns, and rests.
var lengths = []int{0, 1, 31, 32, 33, 63, 64, 95, 1000, 1023, 1024, 4097}

// eachSet runs f with every set of this processor in use.
func eachSet(t *testing.T, f func(t *testing.T)) {
	before := active
	defer func() { active = before }()
	for _, s := range available() {
		active = s
		t.Run(s.name, f)
	}
	if len(available()) == 0 {
		t.Log("no assembly here: the generic functions are compared with themselves")
		t.Run("generic", f)
	}
}

// floats are random with the edges among them: zeros, subnormals, halves, the largest below the limit.
func floats(rng *rand.Rand, n int, limit float64) []float32 {
	edges := []float32{0, float32(math.Copysign(0, -1)), 0.5, -0.5, 1.5, -2.5, 1e-45, -1e-40, 1.1754944e-38, float32(limit), -float32(limit), 0.49999997, 3e-7}
	x := make([]float32, n)
	for i := range x {
		switch rng.IntN(4) {
		case 0:
			x[i] = edges[rng.IntN(len(edges))]
		default:
			x[i] = float32(rng.NormFloat64() * math.Ldexp(1, rng.IntN(24)-12))
			x[i] = max(-float32(limit), min(float32(limit), x[i]))
		}
	}
	return x
}

func ints(rng *rand.Rand, n int) []int32 {
	v := make([]int32, n)
	for i := range v {
		v[i] = int32(rng.Uint32())
	}
	return v
}

// guard is what must stay behind the end of a slice.
const guard = 0x5a5a5a

func TestKernelsEqualTheirTwins(t *testing.T) {
	eachSet(t, func(t *testing.T) {
		for _, n := range lengths {
			for seed := range uint64(6) {
				rng := rand.New(rand.NewPCG(seed, uint64(n)))
				t.Run(fmt.Sprintf("n=%d,seed=%d", n, seed), func(t *testing.T) { checkKernels(t, rng, n) })
			}
		}
	})
}

func checkKernels(t *testing.T, rng *rand.Rand, n int) {
	exp := int8(rng.IntN(252) - 126) // −126 … 125.
	scale := func(x []float32) []float32 {
		for i := range x {
			x[i] = float32(max(-math.MaxFloat32, min(math.MaxFloat32, float64(x[i])*pow2(int(exp)))))
		}
		return x
	}
	x := scale(floats(rng, n, 1<<30))
	if got, want := maxAbsBits(x), maxAbsGeneric(x); got != want {
		t.Errorf("maxAbs %x, want %x", got, want)
	}
	start := append(ints(rng, n), guard)
	compare := func(what string, f, twin func(dst []int32)) {
		t.Helper()
		got, want := slices.Clone(start), slices.Clone(start)
		f(got[:n])
		twin(want[:n])
		for i := range got {
			if got[i] != want[i] {
				t.Fatalf("%s: element %d of %d is %d, want %d", what, i, n, got[i], want[i])
			}
		}
	}
	compare("addRounded", func(d []int32) { addRounded(d, x, exp) }, func(d []int32) { addRoundedGeneric(d, x, pow2(-int(exp))) })
	y, state := scale(floats(rng, n, 32000)), rng.Uint64()
	compare("addDithered", func(d []int32) { addDithered(d, y, pow2(-int(exp)), state) }, func(d []int32) { addDitheredGeneric(d, y, pow2(-int(exp)), state, 0) })

	own, wire := ints(rng, n), make([]byte, 4*n+1)[1:] // At an odd address.
	for i := range wire {
		wire[i] = byte(rng.Uint32())
	}
	compare("AddInt32", func(d []int32) { AddInt32(d, own, wire) }, func(d []int32) {
		for i := range d {
			d[i] = own[i] + int32(binary.LittleEndian.Uint32(wire[4*i:]))
		}
	})
	compare("AddInt16", func(d []int32) { AddInt16(d, own, wire) }, func(d []int32) {
		for i := range d {
			d[i] = own[i] + int32(int16(binary.LittleEndian.Uint16(wire[2*i:])))
		}
	})
	compare("Widen", func(d []int32) { Widen(d, wire) }, func(d []int32) {
		for i := range d {
			d[i] = int32(int16(binary.LittleEndian.Uint16(wire[2*i:])))
		}
	})
	checkDecode(t, own, rng)
	checkNarrow(t, own, rng)
	checkTight(t, rng, n)
}

// checkTight: what fits in the tight width comes back, at any address, and what does not is reported.
func checkTight(t *testing.T, rng *rand.Rand, n int) {
	t.Helper()
	for _, f := range []Format{Int32, Int16} {
		width := f.TightBits()
		v, own := ints(rng, n), ints(rng, n)
		for i := range v {
			v[i] = v[i] << (32 - width) >> (32 - width)
		}
		b := append(make([]byte, f.TightBytes(n)+1), 0x77)[1:]
		want := make([]byte, f.TightBytes(n))
		if !f.Pack(b[:len(want)], v) || !packGeneric(want, v, width) || b[len(want)] != 0x77 || !slices.Equal(b[:len(want)], want) {
			t.Fatalf("%s: Pack does not write what fits, or more", f)
		}
		got := append(make([]int32, n), guard)
		f.Open(got[:n], want)
		if !slices.Equal(got, append(slices.Clone(v), guard)) {
			t.Fatalf("%s: Open does not give back what was packed", f)
		}
		f.Add(got[:n], own, want)
		for i := range v {
			if got[i] != own[i]+v[i] {
				t.Fatalf("%s: Add: element %d is %d, want %d", f, i, got[i], own[i]+v[i])
			}
		}
		for range min(n, 5) {
			i := rng.IntN(n)
			kept := v[i]
			v[i] = []int32{1 << (width - 1), -1<<(width-1) - 1, math.MaxInt32, math.MinInt32}[rng.IntN(4)]
			if f.Pack(b[:len(want)], v) {
				t.Fatalf("%s: Pack takes %d at %d of %d", f, v[i], i, n)
			}
			v[i] = kept
		}
	}
}

func checkDecode(t *testing.T, sums []int32, rng *rand.Rand) {
	t.Helper()
	factor := float64(float32(rng.Float64())) * math.Ldexp(1, rng.IntN(200)-150)
	got, want := append(make([]float32, len(sums)), guard), make([]float32, len(sums))
	decodeBlock(got[:len(sums)], sums, factor)
	decodeGeneric(want, sums, factor)
	for i, w := range append(want, guard) {
		if math.Float32bits(got[i]) != math.Float32bits(w) {
			t.Fatalf("decode: element %d is %g, want %g", i, got[i], w)
		}
	}
}

func checkNarrow(t *testing.T, v []int32, rng *rand.Rand) {
	t.Helper()
	for _, wide := range []bool{false, true} {
		fits := true
		for i := range v {
			v[i] = int32(int16(rng.Uint32()))
			if wide && rng.IntN(1+len(v)/2) == 0 {
				v[i], fits = []int32{1 << 15, -1<<15 - 1, math.MaxInt32, math.MinInt32, 1 << 16}[rng.IntN(5)], false
			}
		}
		b := append(make([]byte, 2*len(v)), 0x77)
		if got := Narrow(b[:2*len(v)], v); got != fits {
			t.Fatalf("Narrow says %v, want %v", got, fits)
		}
		for i, x := range v {
			if got := binary.LittleEndian.Uint16(b[2*i:]); got != uint16(x) {
				t.Fatalf("Narrow: element %d is %d, want %d", i, got, uint16(x))
			}
		}
		if b[2*len(v)] != 0x77 {
			t.Fatal("Narrow wrote past the end")
		}
	}
}

// TestMaxAbsFindsEveryLane: whichever element is the largest, or not finite.
func TestMaxAbsFindsEveryLane(t *testing.T) {
	eachSet(t, func(t *testing.T) {
		x := make([]float32, 130)
		for i := range x {
			for _, v := range []float32{-7, float32(math.Inf(-1)), float32(math.NaN())} {
				x[i] = v
				if got, want := maxAbsBits(x), math.Float32bits(v)&^(1<<31); got != want {
					t.Fatalf("element %d: %x, want %x", i, got, want)
				}
			}
			x[i] = 1
		}
	})
}

// TestSetsAddUpAlike: whole micro-batches give the same integers on every set, in both formats.
func TestSetsAddUpAlike(t *testing.T) {
	before := active
	defer func() { active = before }()
	for _, f := range []Format{Int32, Int16} {
		rng := rand.New(rand.NewPCG(3, uint64(f)))
		g := newGrid(t, f, 3)
		batches := microBatches(rng, g.Layout(), 3)
		var want []int32
		for _, s := range append(available(), nil) {
			active = s
			exps := NewNeeded(g.Layout().Blocks())
			_, needed := groupKeyed(g, batches, exps, []int{0, 1, 2}, 1)
			got, _ := groupKeyed(g, batches, g.Calibrate(needed), []int{0, 1, 2}, 1)
			if want == nil {
				want = got
			} else if !slices.Equal(got, want) {
				t.Errorf("%s: set %v gives other integers", f, s)
			}
		}
	}
}

func TestChoose(t *testing.T) {
	a, b := &kernels{name: "a"}, &kernels{name: "b"}
	for name, want := range map[string]*kernels{"": a, "b": b, "generic": nil, "unknown": a} {
		if got := choose(name, []*kernels{a, b}); got != want {
			t.Errorf("choose(%q) = %v, want %v", name, got, want)
		}
	}
	if got := choose("", nil); got != nil {
		t.Errorf("choose from none: %v", got)
	}
}
