package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

type convCase struct {
	b, h, w, cin, cout, k, stride, top, left, bottom, right int
}

func (c convCase) String() string {
	return fmt.Sprintf("%dx%dx%dx%d->%d,k%d,s%d,pad%d.%d.%d.%d", c.b, c.h, c.w, c.cin, c.cout, c.k, c.stride, c.top, c.left, c.bottom, c.right)
}

func (c convCase) args(seed uint64) *ConvArgs {
	r := rand.New(rand.NewPCG(seed, 2))
	a := &ConvArgs{B: c.b, H: c.h, W: c.w, Cin: c.cin, Cout: c.cout, KH: c.k, KW: c.k, Stride: c.stride, PadTop: c.top, PadLeft: c.left}
	a.OH, a.OW = (c.h+c.top+c.bottom-c.k)/c.stride+1, (c.w+c.left+c.right-c.k)/c.stride+1
	a.X, a.Y = random(r, c.b*c.h*c.w*c.cin), random(r, c.b*a.OH*a.OW*c.cout)
	a.Wt, a.Bias = random(r, c.k*c.k*c.cin*c.cout), random(r, c.cout)
	return a
}

var convCases = []convCase{
	{1, 5, 7, 3, 4, 3, 1, 1, 1, 1, 1},
	{2, 8, 8, 16, 33, 3, 1, 1, 1, 1, 1},
	{2, 8, 6, 5, 17, 3, 2, 1, 1, 1, 1},
	{1, 8, 8, 4, 6, 3, 2, 0, 0, 1, 1}, // The downsampling of a VAE encoder.
	{3, 1, 1, 2, 2, 3, 1, 1, 1, 1, 1},
	{1, 9, 4, 70, 3, 1, 1, 0, 0, 0, 0},
	{1, 7, 9, 2, 3, 5, 3, 2, 1, 0, 3},
	{2, 2, 3, 40, 200, 3, 1, 1, 1, 1, 1},
	{1, 30, 31, 3, 2, 3, 1, 1, 1, 1, 1},
	{2, 13, 17, 24, 40, 3, 1, 1, 1, 1, 1}, // By tiles.
	{3, 16, 15, 150, 17, 3, 1, 0, 2, 1, 0},
	{1, 9, 20, 16, 5, 3, 2, 1, 1, 1, 1},
	{1, 16, 16, 200, 36, 3, 2, 0, 0, 1, 1},
	{1, 12, 9, 17, 18, 5, 1, 2, 0, 1, 3},
}

// eachTerm calls f with the offsets of every product x·w that enters y.
func eachTerm(a *ConvArgs, f func(x, w, y int)) {
	for b := range a.B {
		for oh := range a.OH {
			for ow := range a.OW {
				for kh := range a.KH {
					for kw := range a.KW {
						h, w := oh*a.Stride+kh-a.PadTop, ow*a.Stride+kw-a.PadLeft
						if h < 0 || h >= a.H || w < 0 || w >= a.W {
							continue
						}
						x, wt, y := ((b*a.H+h)*a.W+w)*a.Cin, (kh*a.KW+kw)*a.Cin*a.Cout, ((b*a.OH+oh)*a.OW+ow)*a.Cout
						for ci := range a.Cin {
							for co := range a.Cout {
								f(x+ci, wt+ci*a.Cout+co, y+co)
							}
						}
					}
				}
			}
		}
	}
}

func TestConvAgainstFloat64(t *testing.T) {
	onEverySet(t, func(t *testing.T) {
		pool := NewPool(2)
		defer pool.Close()
		for _, c := range convCases {
			checkForward(t, pool, c)
			checkDataGrad(t, pool, c)
			checkWeightGrad(t, pool, c)
		}
	})
}

func checkForward(t *testing.T, pool *Pool, c convCase) {
	a := c.args(1)
	want := make([]float64, len(a.Y))
	for i := range want {
		want[i] = float64(a.Bias[i%a.Cout])
	}
	eachTerm(a, func(x, w, y int) { want[y] += float64(a.X[x]) * float64(a.Wt[w]) })
	pool.ConvForward(a)
	checkNear(t, c.String()+" forward", a.Y, want)
}

func checkDataGrad(t *testing.T, pool *Pool, c convCase) {
	a := c.args(1)
	want := make([]float64, len(a.X))
	eachTerm(a, func(x, w, y int) { want[x] += float64(a.Y[y]) * float64(a.Wt[w]) })
	pool.ConvDataGrad(a)
	checkNear(t, c.String()+" data gradient", a.X, want)
}

func checkWeightGrad(t *testing.T, pool *Pool, c convCase) {
	a := c.args(1)
	a.Accumulate = true
	want := make([]float64, len(a.Wt))
	for i := range want {
		want[i] = float64(a.Wt[i])
	}
	eachTerm(a, func(x, w, y int) { want[w] += float64(a.X[x]) * float64(a.Y[y]) })
	pool.ConvWeightGrad(a)
	checkNear(t, c.String()+" weight gradient", a.Wt, want)
}

// checkNear allows 2e-4 absolute: the sums have at most about 2,000 terms in [-1, 1].
func checkNear(t *testing.T, name string, got []float32, want []float64) {
	t.Helper()
	for i := range got {
		if math.Abs(float64(got[i])-want[i]) > 2e-4 {
			t.Fatalf("%s: element %d is %v, want %v", name, i, got[i], want[i])
		}
	}
}

// convPasses are the three passes and what they write.
var convPasses = map[string]struct {
	run    func(*Pool, *ConvArgs)
	result func(*ConvArgs) []float32
}{
	"forward": {(*Pool).ConvForward, func(a *ConvArgs) []float32 { return a.Y }},
	"data":    {(*Pool).ConvDataGrad, func(a *ConvArgs) []float32 { return a.X }},
	"weight":  {(*Pool).ConvWeightGrad, func(a *ConvArgs) []float32 { return a.Wt }},
}

// TestConvBits: threads, and the sets with fused multiply-adds, give the same bits.
func TestConvBits(t *testing.T) {
	one, three := NewPool(1), NewPool(3)
	defer one.Close()
	defer three.Close()
	first := map[string][]float32{}
	onEverySet(t, func(t *testing.T) {
		family := fmt.Sprint(active == genericSet)
		for _, c := range append(convCases, convCase{2, 16, 16, 64, 64, 3, 1, 1, 1, 1, 1}) {
			for name, pass := range convPasses {
				for _, p := range []*Pool{one, three} {
					a := c.args(4)
					pass.run(p, a)
					key := name + " " + c.String()
					sameBits(t, fmt.Sprintf("%s, %d threads", key, p.Threads()), pass.result(a), first, family+key)
				}
			}
		}
	})
}

// TestConvTilesInParts: how many tiles are under way at a time does not change the bits.
func TestConvTilesInParts(t *testing.T) {
	pool := NewPool(2)
	defer pool.Close()
	onEverySet(t, func(t *testing.T) {
		limit := pointFloats
		defer func() { pointFloats = limit }()
		for _, c := range []convCase{{3, 16, 17, 20, 17, 3, 1, 1, 1, 1, 1}, {2, 30, 16, 33, 34, 3, 1, 1, 1, 1, 1}} {
			for _, bf16 := range []bool{false, true} {
				first := map[string][]float32{}
				for _, floats := range []int{limit, 0} {
					pointFloats = floats
					a := c.args(6)
					a.Accumulate, a.BF16 = true, bf16
					pool.ConvForward(a)
					sameBits(t, c.String()+" forward", a.Y, first, "forward")
					pool.ConvDataGrad(a)
					sameBits(t, c.String()+" data gradient", a.X, first, "data")
					pool.ConvWeightGrad(a)
					sameBits(t, c.String()+" weight gradient", a.Wt, first, "weight")
				}
			}
		}
	})
}

// TestHalfConv: convolutions of bf16 are near those in float32, and threads and the sets with fused multiply-adds give
// the same bits.
func TestHalfConv(t *testing.T) {
	before := active
	defer func() { active = before }()
	pools := []*Pool{NewPool(1), NewPool(3)}
	first := map[string][]float32{}
	for _, set := range halfSets() {
		active = set
		family := fmt.Sprint(set.mr == genericSet.mr)
		for i, c := range []convCase{{2, 13, 17, 24, 40, 3, 1, 1, 1, 1, 1}, {1, 16, 15, 150, 17, 3, 1, 0, 2, 1, 0}, {3, 3, 2, 17, 70, 3, 1, 1, 1, 1, 1}} {
			for name, pass := range convPasses {
				exact, a := c.args(8), c.args(8)
				a.BF16 = true
				pass.run(pools[0], exact)
				pass.run(pools[i%2], a)
				key := fmt.Sprintf("seed 8, %s, %s", name, c)
				sameBits(t, set.name+" "+key, pass.result(a), first, family+key)
				checkHalf(t, set.name+" "+key, pass.result(a), pass.result(exact))
			}
		}
	}
	for _, p := range pools {
		p.Close()
	}
}

// checkHalf holds the relative distance of two vectors to four roundings of 2⁻⁹.
func checkHalf(t *testing.T, name string, got, want []float32) {
	t.Helper()
	var distance, length float64
	for i, w := range want {
		distance += math.Pow(float64(got[i]-w), 2)
		length += math.Pow(float64(w), 2)
	}
	if !(distance <= math.Pow(4*0x1p-9, 2)*length) || distance == 0 {
		t.Errorf("%s: the distance to float32 is %v of the length", name, math.Sqrt(distance/length))
	}
}

// TestConvPaths: the padded copy and the packed patches give the same bits.
func TestConvPaths(t *testing.T) {
	pool := NewPool(2)
	defer pool.Close()
	onEverySet(t, func(t *testing.T) {
		packed := *active
		packed.direct = false
		before, limit := active, haloFloats
		defer func() { active, haloFloats = before, limit }()
		for _, c := range convCases {
			first := map[string][]float32{}
			for _, floats := range []int{0, 10_000, limit} { // No padded copy, one or a few at a time, all.
				active, haloFloats = before, floats
				if floats == 0 {
					active = &packed
				}
				a := c.args(5)
				pool.ConvForward(a)
				sameBits(t, c.String()+" forward", a.Y, first, "forward")
				pool.ConvDataGrad(a)
				sameBits(t, c.String()+" data gradient", a.X, first, "data")
			}
		}
	})
}

func TestConvDoesNotAllocate(t *testing.T) {
	onEverySet(t, func(t *testing.T) {
		pool := NewPool(2)
		defer pool.Close()
		a := convCase{2, 12, 12, 32, 40, 3, 1, 1, 1, 1, 1}.args(1)
		pass := func() { pool.ConvForward(a); pool.ConvDataGrad(a); pool.ConvWeightGrad(a) }
		for range 50 { // Each thread's scratch grows when it first gets a task.
			pass()
		}
		if got := testing.AllocsPerRun(20, pass); got != 0 {
			t.Errorf("%v allocations, want 0", got)
		}
	})
}
