package worker

import (
	"slices"
	"testing"

	"yohaku/allreduce/fixedpoint"
	"yohaku/internal/rawbytes"
	"yohaku/internal/rng"
	"yohaku/internal/wire"
	"yohaku/model/kernel"
	"yohaku/model/optim"
	"yohaku/worker/trainstep"
)

// toy is a model of three tensors, one of them longer than a chunk; its gradients are keyed noise.
type toy struct{ params []trainstep.Param }

func newToy() *toy {
	t := &toy{}
	for i, n := range []int{5, chunkBytes/4 + 700, 1024} {
		data := make([]float32, n)
		rng.New(rng.Key{Seed: 7, Item: uint64(i)}).FillNormal(data)
		t.params = append(t.params, trainstep.Param{Name: string(rune('a' + i)), Data: data})
	}
	return t
}

func (t *toy) Params() []trainstep.Param { return t.params }

func (t *toy) Gradients(step, mb int, onGrad func(int, []float32)) (trainstep.Stats, error) {
	for i, p := range t.params {
		g := make([]float32, len(p.Data))
		rng.New(rng.Key{Seed: 1, Step: uint64(step), Item: uint64(8*mb + i)}).FillNormal(g)
		onGrad(i, g)
	}
	return trainstep.Stats{Items: 1}, nil
}

func newResident(t *testing.T) *resident {
	t.Helper()
	pool := kernel.NewPool(1)
	t.Cleanup(pool.Close)
	trainer, err := trainstep.New(newToy(), trainstep.Hyper{
		Optimizer: optim.DefaultAdamW(), LearningRate: func(int) float64 { return 1e-2 }, MaxGradNorm: 1, MicroBatches: 1, ItemsPerStep: 1,
	}, pool)
	if err != nil {
		t.Fatal(err)
	}
	blocks := trainer.Layout().Blocks()
	return &resident{trainer: trainer, spans: spansOf(trainer.Params()), sums: complete{nil, fixedpoint.NewNeeded(blocks), fixedpoint.NewNeeded(blocks)}}
}

// step makes one update, and leaves the sums that it came from in r.sums.
func (r *resident) step(t *testing.T, step int) {
	t.Helper()
	for {
		if _, err := r.trainer.Compute(step, []int{0}); err != nil {
			t.Fatal(err)
		}
		sums, needed := r.trainer.Sums()
		if !r.trainer.Overflowed(needed) {
			r.sums = complete{slices.Clone(sums), slices.Clone(r.trainer.State().Exponents), slices.Clone(needed)}
			break
		}
		r.trainer.Recalibrate(needed)
	}
	r.trainer.Apply(step, r.sums.sums, r.sums.needed, false)
	r.replica = r.trainer.Digest()
}

// TestAStateArrivesOverManySteps: a piece of the state at each boundary, and the sums of each step
// for what came before, make the state that the donor has.
func TestAStateArrivesOverManySteps(t *testing.T) {
	donor, joiner := newResident(t), newResident(t)
	f := &follower{res: joiner, stream: 1, whole: make(chan struct{})}
	joiner.trainer.Reset()
	take := func(kind chunkKind, step, offset int, data []byte) {
		t.Helper()
		if _, err := f.handle(t.Context(), chunk{kind, 1, step, offset, data}.encode()); err != nil {
			t.Fatal(err)
		}
	}
	vector := func(kind chunkKind, step int, data []byte) {
		for lo := 0; lo < len(data); lo += chunkBytes {
			take(kind, step, lo, data[lo:min(lo+chunkBytes, len(data))])
		}
	}
	donor.step(t, 0)
	take(chunkOpen, 1, 0, nil)
	spans := donor.spans
	if len(spans) != 4 {
		t.Fatalf("%d spans, want 4: %+v", len(spans), spans)
	}
	follow := func(at int) {
		donor.step(t, at-1)
		vector(chunkSums, at, rawbytes.Of(donor.sums.sums))
		vector(chunkExps, at, rawbytes.Of(donor.sums.exps))
		vector(chunkNeeded, at, rawbytes.Of(donor.sums.needed))
		m := wire.Encode(mark{donor.trainer.State().Updates, donor.replica.String()})
		take(chunkApply, at, 0, m)
		take(chunkApply, at, 0, m) // Its answer was lost.
	}
	for i, s := range spans {
		if i > 0 {
			follow(i + 1)
		}
		for kind, data := range donor.at(s) {
			take(kind, i+1, s.offset, data)
		}
	}
	vector(chunkGrid, len(spans), rawbytes.Of(donor.trainer.State().Exponents))
	take(chunkWhole, len(spans), 0, wire.Encode(mark{donor.trainer.State().Updates, donor.replica.String()}))
	follow(len(spans) + 1)
	if got := joiner.trainer.Digest(); !f.ready || f.steps != len(spans)+1 || got != donor.replica {
		t.Errorf("ready %v at step %d with %v, want step %d with %v", f.ready, f.steps, got, len(spans)+1, donor.replica)
	}
	if _, err := f.handle(t.Context(), chunk{kind: chunkM, stream: 1, offset: 3, data: []byte{1}}.encode()); err == nil {
		t.Error("a chunk that fits no piece of the state is taken")
	}
}
