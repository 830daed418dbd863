package main

import (
	"fmt"

	"yohaku/internal/rng"
	"yohaku/model/backend/cpu"
	"yohaku/model/bench"
	"yohaku/model/optim"
	"yohaku/model/train"
	"yohaku/worker/trainstep"
)

// makeStep is the training step of one micro-batch as a worker alone takes it: noise, gradients, exact sums, norm, clip
// and AdamW. The ring, the digest of the parameters and reports are left out.
func makeStep(be *cpu.Backend, r bench.Request) (*bench.Job, error) {
	c, err := bench.StepConfig(r)
	if err != nil {
		return nil, err
	}
	_, job, err := newStep(be, c)
	return job, err
}

func newStep(be *cpu.Backend, c train.Config) (*stepRun, *bench.Job, error) {
	step, err := train.New(c, be)
	if err != nil {
		return nil, nil, err
	}
	bench.Initialize(step.Params(), step.ParamSlab())
	trainer, err := trainstep.New(newModel(c, step), trainstep.Hyper{
		Optimizer: optim.DefaultAdamW(), LearningRate: func(int) float64 { return 1e-5 }, MaxGradNorm: 1, MicroBatches: 1, ItemsPerStep: c.Items,
	}, be.Pool())
	if err != nil {
		return nil, nil, err
	}
	train.BoundHeap(c.Memory.Limit)
	run := &stepRun{trainer: trainer, net: step}
	return run, &bench.Job{Run: run.once, FLOPs: step.Plan().FLOPs}, nil
}

// stepRun counts steps.
type stepRun struct {
	trainer *trainstep.Trainer
	net     *train.Step
	step    int
}

// once takes a step, and computes it again when its sums overflow, as the first one's do.
func (s *stepRun) once() error {
	for {
		s.trainer.Clear()
		if _, err := s.trainer.Add(s.step, 0, nil); err != nil {
			return err
		}
		sums, needed := s.trainer.Sums()
		if !s.trainer.Overflowed(needed) {
			s.trainer.Apply(s.step, sums, needed, len(s.trainer.Bad()) > 0)
			s.step++
			return nil
		}
		s.trainer.Recalibrate(needed)
	}
}

// model is trainstep's Model over random pairs.
type model struct {
	step   *train.Step
	params []trainstep.Param
	items  []train.Item
	draws  int // num_train_timesteps.
}

// seed of all random numbers.
const seed = 1

func newModel(c train.Config, step *train.Step) *model {
	m := &model{step: step, draws: len(c.Schedule.AlphasCumprod)}
	slab := step.ParamSlab()
	for _, g := range step.GradOrder() {
		m.params = append(m.params, trainstep.Param{Name: g.Name, Data: slab[g.Offset : g.Offset+g.Len]})
	}
	latent := c.UNet.InChannels * c.Height * c.Width
	for i := range c.Items {
		it := train.Item{
			Winner: make([]float32, latent), Loser: make([]float32, latent), Noise: make([]float32, latent),
			Context: make([]float32, c.ContextLength*c.UNet.ContextDim()),
		}
		for k, x := range [][]float32{it.Winner, it.Loser, it.Context} {
			rng.New(rng.Key{Seed: seed, Domain: rng.Latent, Item: uint64(3*i + k)}).FillNormal(x)
		}
		if c.UNet.HasTextTime() {
			side := float32(8 * c.Height)
			it.Pooled, it.TimeIDs = make([]float32, c.UNet.PooledDim()), []float32{side, side, 0, 0, side, side}
			rng.New(rng.Key{Seed: seed, Domain: rng.Latent, Step: 1, Item: uint64(i)}).FillNormal(it.Pooled)
		}
		m.items = append(m.items, it)
	}
	return m
}

// Params implements trainstep.Model.
func (m *model) Params() []trainstep.Param { return m.params }

// Gradients implements trainstep.Model: the same pairs every time, with new noise and timesteps.
func (m *model) Gradients(step, _ int, onGrad func(i int, grad []float32)) (trainstep.Stats, error) {
	for i := range m.items {
		s := rng.New(rng.Key{Seed: seed, Domain: rng.Noise, Step: uint64(step), Item: uint64(i)})
		m.items[i].Timestep = s.IntN(m.draws)
		s.FillNormal(m.items[i].Noise)
	}
	if err := m.step.Fill(m.items); err != nil {
		return trainstep.Stats{}, fmt.Errorf("fill step %d: %w", step, err)
	}
	result, err := m.step.Run(onGrad)
	return trainstep.Stats{Items: len(m.items), Loss: result.Loss}, err
}
