package trainstep

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"yohaku/allreduce/fixedpoint"
	"yohaku/internal/rng"
	"yohaku/model/kernel"
	"yohaku/model/optim"
)

// toy is a model whose gradient is (parameter − a keyed target) for each item: enough to train,
// and different in every micro-batch and step.
type toy struct {
	params []Param
	scale  float32
	poison int // Micro-batch with a NaN, −1 for none.
}

func newToy() *toy {
	t := &toy{scale: 1, poison: -1}
	for i, n := range []int{5, 2500, 1024} {
		data := make([]float32, n)
		rng.New(rng.Key{Seed: 7, Item: uint64(i)}).FillNormal(data)
		t.params = append(t.params, Param{Name: string(rune('a' + i)), Data: data})
	}
	return t
}

func (t *toy) Params() []Param { return t.params }

func (t *toy) Gradients(step, mb int, onGrad func(int, []float32)) (Stats, error) {
	var loss float64
	for i, p := range t.params {
		g := make([]float32, len(p.Data))
		rng.New(rng.Key{Seed: 1, Step: uint64(step), Item: uint64(8*mb + i)}).FillNormal(g)
		for j := range g {
			g[j] = t.scale * (p.Data[j] - g[j])
			loss += float64(g[j]) * float64(g[j])
		}
		if mb == t.poison && i == 1 {
			g[3] = float32(math.NaN())
		}
		onGrad(i, g)
	}
	return Stats{Items: 2, Loss: loss}, nil
}

const microBatches = 6

func hyper() Hyper {
	return Hyper{
		Optimizer: optim.DefaultAdamW(), LearningRate: func(int) float64 { return 1e-2 }, MaxGradNorm: 1,
		MicroBatches: microBatches, ItemsPerStep: 2 * microBatches,
	}
}

// newPool is a pool of two threads for one trainer of a test.
func newPool(t *testing.T) *kernel.Pool {
	t.Helper()
	p := kernel.NewPool(2)
	t.Cleanup(p.Close)
	return p
}

// train runs steps over ranks with the given shares, the ring replaced by plain addition, and
// returns the parameters and states of all ranks.
func train(t *testing.T, steps int, shares [][]int) []*Trainer {
	t.Helper()
	return trainIn(t, fixedpoint.Int32, steps, shares)
}

func trainIn(t *testing.T, format fixedpoint.Format, steps int, shares [][]int) []*Trainer {
	t.Helper()
	h := hyper()
	h.Format = format
	ranks := make([]*Trainer, len(shares))
	for r := range ranks {
		var err error
		if ranks[r], err = New(newToy(), h, newPool(t)); err != nil {
			t.Fatal(err)
		}
	}
	for step := range steps {
		for attempt := 0; !trainOnce(t, ranks, step, shares); attempt++ {
			if attempt > 3 {
				t.Fatalf("step %d: no attempt fits", step)
			}
		}
	}
	return ranks
}

func trainOnce(t *testing.T, ranks []*Trainer, step int, shares [][]int) (committed bool) {
	t.Helper()
	total := make([]int32, ranks[0].Layout().Elements())
	needed := fixedpoint.NewNeeded(ranks[0].Layout().Blocks())
	for r, rank := range ranks {
		if _, err := rank.Compute(step, shares[r]); err != nil {
			t.Fatal(err)
		}
		sums, need := rank.Sums()
		for i, s := range sums {
			total[i] += s
		}
		fixedpoint.Combine(needed, need)
	}
	if ranks[0].Overflowed(needed) {
		for _, rank := range ranks {
			rank.Recalibrate(needed)
		}
		return false
	}
	for _, rank := range ranks {
		rank.Apply(step, total, needed, false)
	}
	return true
}

func TestTheResultDoesNotDependOnThreads(t *testing.T) {
	run := func(threads int) (*Trainer, Update) {
		pool := kernel.NewPool(threads)
		defer pool.Close()
		model := newToy()
		model.params[1].Data = make([]float32, 3*pieceBlocks*fixedpoint.BlockElements+77)
		tr, err := New(model, hyper(), pool)
		if err != nil {
			t.Fatal(err)
		}
		var u Update
		for step := range 3 {
			for range 2 {
				if _, err := tr.Compute(step, []int{0, 1, 2}); err != nil {
					t.Fatal(err)
				}
				_, needed := tr.Sums()
				tr.Recalibrate(needed)
			}
			sums, needed := tr.Sums()
			u = tr.Apply(step, sums, needed, false)
		}
		return tr, u
	}
	want, wantUpdate := run(1)
	for _, threads := range []int{2, 3} {
		got, update := run(threads)
		if diff := cmp.Diff(wantUpdate, update); diff != "" {
			t.Errorf("%d threads: another update (-1 thread +%d):\n%s", threads, threads, diff)
		}
		if cmp.Diff(want.Params(), got.Params()) != "" || cmp.Diff(want.State(), got.State()) != "" {
			t.Errorf("%d threads: other parameters or state", threads)
		}
	}
}

func TestTheResultDoesNotDependOnTheWorld(t *testing.T) {
	for _, format := range []fixedpoint.Format{fixedpoint.Int32, fixedpoint.Int16} {
		want := trainIn(t, format, 5, [][]int{{0, 1, 2, 3, 4, 5}})[0]
		for _, shares := range [][][]int{{{0, 1, 2}, {3, 4, 5}}, {{5}, {3, 1, 0}, {2, 4}}, {{0, 1, 2, 3, 4, 5}, {}}} {
			for r, rank := range trainIn(t, format, 5, shares) {
				if diff := cmp.Diff(want.Params(), rank.Params()); diff != "" {
					t.Errorf("%s, shares %v: rank %d has other parameters", format, shares, r)
				}
				if diff := cmp.Diff(want.State(), rank.State()); diff != "" {
					t.Errorf("%s, shares %v: rank %d has another optimizer state", format, shares, r)
				}
			}
		}
	}
}

// TestInt16DrawsByMicroBatch: sums fit 16 bits, and the seed decides how they are rounded.
func TestInt16DrawsByMicroBatch(t *testing.T) {
	h := hyper()
	h.Format = fixedpoint.Int16
	sums := func(seed uint64, step int) []int32 {
		h.Seed = seed
		tr, err := New(newToy(), h, newPool(t))
		if err != nil {
			t.Fatal(err)
		}
		for attempt := 0; ; attempt++ {
			if _, err := tr.Compute(step, []int{0, 1, 2, 3, 4, 5}); err != nil {
				t.Fatal(err)
			}
			sums, needed := tr.Sums()
			if !tr.Overflowed(needed) {
				return sums
			}
			tr.Recalibrate(needed)
		}
	}
	one := sums(1, 0)
	if diff := cmp.Diff(one, sums(1, 0)); diff != "" {
		t.Error("the same seed rounds differently")
	}
	if cmp.Equal(one, sums(2, 0)) {
		t.Error("another seed rounds alike")
	}
	for i, s := range one {
		if s != int32(int16(s)) {
			t.Fatalf("sum %d is %d, beyond int16", i, s)
		}
	}
	h.MicroBatches = 17
	if _, err := New(newToy(), h, newPool(t)); err == nil {
		t.Error("17 micro-batches were taken")
	}
}

// TestPartialSumsAreContinued: micro-batches may be added one by one, in any order, with pauses
// between, and an attempt that was taken back leaves nothing.
func TestPartialSumsAreContinued(t *testing.T) {
	want := train(t, 2, [][]int{{0, 1, 2, 3, 4, 5}})[0]
	tr, err := New(newToy(), hyper(), newPool(t))
	if err != nil {
		t.Fatal(err)
	}
	for step := range 2 {
		for {
			tr.Clear()
			for _, mb := range []int{4, 0, 5, 1, 3, 2} {
				var added []int
				if _, err := tr.Add(step, mb, func(i int) { added = append(added, i) }); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff([]int{0, 1, 2}, added); diff != "" {
					t.Fatalf("parameters added (-want +got):\n%s", diff)
				}
			}
			sums, needed := tr.Sums()
			if !tr.Overflowed(needed) {
				tr.Apply(step, sums, needed, false)
				break
			}
			before := append(fixedpoint.Exponents(nil), tr.State().Exponents...)
			tr.Recalibrate(needed)
			tr.Recalibrate(needed) // A second attempt may overflow too.
			tr.Revert()
			if diff := cmp.Diff(before, tr.State().Exponents); diff != "" {
				t.Fatalf("exponents after Revert (-want +got):\n%s", diff)
			}
			tr.Recalibrate(needed)
		}
	}
	if diff := cmp.Diff(want.Params(), tr.Params()); diff != "" {
		t.Error("other parameters")
	}
	if diff := cmp.Diff(want.State(), tr.State()); diff != "" {
		t.Error("another optimizer state")
	}
}

// TestSumsFromElsewhere: a rank that missed a step takes the sums, with the exponents that they
// were rounded by, and is where the others are; a reset one is where it began.
func TestSumsFromElsewhere(t *testing.T) {
	ahead, err := New(newToy(), hyper(), newPool(t))
	if err != nil {
		t.Fatal(err)
	}
	behind, err := New(newToy(), hyper(), newPool(t))
	if err != nil {
		t.Fatal(err)
	}
	all := []int{0, 1, 2, 3, 4, 5}
	if _, err := ahead.Compute(0, all); err != nil {
		t.Fatal(err)
	}
	_, needed := ahead.Sums()
	ahead.Recalibrate(needed)
	if _, err := ahead.Compute(0, all); err != nil {
		t.Fatal(err)
	}
	exps := append(fixedpoint.Exponents(nil), ahead.State().Exponents...)
	sums, needed := ahead.Sums()
	ahead.Apply(0, sums, needed, false)
	behind.Adopt(exps)
	behind.Apply(0, sums, needed, false)
	if diff := cmp.Diff(ahead.Params(), behind.Params()); diff != "" {
		t.Error("other parameters")
	}
	if diff := cmp.Diff(ahead.State(), behind.State()); diff != "" {
		t.Error("another optimizer state")
	}
	fresh, err := New(newToy(), hyper(), newPool(t))
	if err != nil {
		t.Fatal(err)
	}
	behind.Reset()
	if diff := cmp.Diff(fresh.State(), behind.State()); diff != "" {
		t.Errorf("after Reset (-want +got):\n%s", diff)
	}
}

// TestApplyIsTheMeanGradient compares with the update from float64 gradients, within the bound of
// the grid: M/2 quanta, a quantum being at most 2^−19 of the largest gradient element.
func TestApplyIsTheMeanGradient(t *testing.T) {
	got := train(t, 1, [][]int{{0, 1, 2, 3, 4, 5}})[0]
	model := newToy()
	mean := make([][]float64, len(model.params))
	var largest float64
	for mb := range microBatches {
		_, _ = model.Gradients(0, mb, func(i int, g []float32) { // The toy never fails.
			if mean[i] == nil {
				mean[i] = make([]float64, len(g))
			}
			for j := range g {
				mean[i][j] += float64(g[j]) / (2 * microBatches)
				largest = max(largest, math.Abs(float64(g[j])))
			}
		})
	}
	var norm float64
	for _, g := range mean {
		for _, x := range g {
			norm += x * x
		}
	}
	clip := optim.ClipCoefficient(math.Sqrt(norm), 1)
	bound := 0.1 * clip * (microBatches / 2 * math.Ldexp(largest, -19)) / (2 * microBatches)
	at := 0
	for i := range mean {
		for j := range mean[i] {
			want := mean[i][j] * clip * 0.1 // The first moment after one update.
			if m := float64(got.State().M[at]); math.Abs(m-want) > bound+1e-6*math.Abs(want) {
				t.Fatalf("moment of %s[%d] is %g, want %g", model.params[i].Name, j, m, want)
			}
			at++
		}
	}
}

func TestANonFiniteGradientIsNamedAndSkipped(t *testing.T) {
	model := newToy()
	model.poison = 4
	tr, err := New(model, hyper(), newPool(t))
	if err != nil {
		t.Fatal(err)
	}
	before := append([]float32(nil), model.params[1].Data...)
	if _, err := tr.Compute(0, []int{3, 4}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]NonFinite{{MicroBatch: 4, Param: "b"}}, tr.Bad()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	sums, needed := tr.Sums()
	if fixedpoint.FirstNonFinite(needed) < 0 {
		t.Error("the exponents do not tell")
	}
	tr.Apply(0, sums, needed, true)
	if diff := cmp.Diff(before, model.params[1].Data); diff != "" || tr.State().Updates != 0 {
		t.Error("a skipped step changed the parameters or counted as an update")
	}
}

func TestMeanIsInPlanOrder(t *testing.T) {
	a := Mean([]Stats{{MicroBatch: 1, Items: 2, Loss: 1e-17}, {MicroBatch: 0, Items: 2, Loss: 1}})
	b := Mean([]Stats{{MicroBatch: 0, Items: 2, Loss: 1}, {MicroBatch: 1, Items: 2, Loss: 1e-17}})
	if a != b || a.Items != 4 || a.Loss != 0.25 {
		t.Errorf("means %+v and %+v", a, b)
	}
}
