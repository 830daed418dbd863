package worker

import (
	"fmt"

	"yohaku/dataset"
	"yohaku/dataset/plan"
	"yohaku/internal/rng"
	"yohaku/internal/wire"
	"yohaku/model/train"
	"yohaku/model/vae"
	"yohaku/worker/trainstep"
)

// microBatches computes the gradients of micro-batches: it is trainstep's Model over the training
// graph. Latents, noise and timesteps are keyed by seed, step and item, so they are the same on
// every rank.
type microBatches struct {
	hyper   wire.Hyper
	vae     vae.Config
	step    *train.Step
	plan    *plan.Plan
	pairs   *pairLatents
	params  []trainstep.Param
	items   []train.Item // Reused.
	eps     []float32
	planned []plan.MicroBatch
	at      int // The step of planned, −1 for none.
	fault   Fault
}

func newMicroBatches(h wire.Hyper, v vae.Config, step *train.Step, p *plan.Plan, pairs *pairLatents) *microBatches {
	m := &microBatches{hyper: h, vae: v, step: step, plan: p, pairs: pairs, at: -1, eps: make([]float32, pairs.latentLen())}
	slab := step.ParamSlab()
	at := map[string]int{}
	for _, info := range step.Params() {
		at[info.Name] = info.Offset
	}
	for _, g := range step.GradOrder() {
		m.params = append(m.params, trainstep.Param{Name: g.Name, Data: slab[at[g.Name] : at[g.Name]+g.Len]})
	}
	for range h.TrainBatchSize {
		m.items = append(m.items, train.Item{
			Winner: make([]float32, pairs.latentLen()), Loser: make([]float32, pairs.latentLen()), Noise: make([]float32, pairs.latentLen()),
		})
	}
	return m
}

// Params implements trainstep.Model.
func (m *microBatches) Params() []trainstep.Param { return m.params }

// Gradients implements trainstep.Model.
func (m *microBatches) Gradients(step, mb int, onGrad func(i int, grad []float32)) (trainstep.Stats, error) {
	if m.at != step {
		m.planned, m.at = m.plan.At(step), step
	}
	for i, item := range m.planned[mb] {
		if err := m.fill(&m.items[i], step, item); err != nil {
			return trainstep.Stats{}, err
		}
	}
	if err := m.step.Fill(m.items); err != nil {
		return trainstep.Stats{}, err
	}
	result, err := m.step.Run(func(i int, grad []float32) {
		m.fault.gradient(step, mb, i, grad)
		onGrad(i, grad)
	})
	if err != nil {
		return trainstep.Stats{}, err
	}
	s := trainstep.Stats{Items: len(result.Items)}
	for _, i := range result.Items {
		s.Loss += i.Loss
		s.LossRatio += i.Ratio
		s.WinnerMSE += i.WinnerMSE
		s.LoserMSE += i.LoserMSE
		s.LogOdds += i.LogOdds
	}
	return s, nil
}

// fill makes the training item of a planned one.
func (m *microBatches) fill(dst *train.Item, step int, item plan.Item) error {
	flip := m.hyper.RandomFlip && dataset.Flipped(m.hyper.Seed, uint64(step), item.Index)
	pair, err := m.pairs.pair(item.Pair, flip)
	if err != nil {
		return fmt.Errorf("latents of pair %d: %w", item.Pair, err)
	}
	dst.Timestep, dst.NoMargin = item.Timestep, m.noMargin(step)
	dst.Context, dst.Pooled, dst.TimeIDs = pair.Embeds, pair.Pooled, pair.TimeIDs
	if emptyPrompt(m.hyper, step, item.Index) {
		dst.Context, dst.Pooled = m.pairs.empty.Embeds, m.pairs.empty.Pooled
	}
	m.draw(rng.Noise, step, item.Index, dst.Noise)
	for k, side := range []struct{ dst, moments []float32 }{{dst.Winner, pair.Winner}, {dst.Loser, pair.Loser}} {
		m.draw(rng.Latent, step, 2*item.Index+uint64(k), m.eps)
		if err := m.vae.Latents(side.dst, side.moments, m.eps); err != nil {
			return err
		}
	}
	return nil
}

// noMargin tells whether the step leaves the margin term out, on every rank alike.
func (m *microBatches) noMargin(step int) bool {
	return rng.New(rng.Key{Seed: m.hyper.Seed, Domain: rng.MarginDrop, Step: uint64(step)}).Float64() < m.hyper.MarginDrop
}

// emptyPrompt tells whether an item of a step is trained with the empty prompt, on every rank alike.
func emptyPrompt(h wire.Hyper, step int, item uint64) bool {
	return h.ProportionEmptyPrompts > 0 && // 0 draws nothing.
		rng.New(rng.Key{Seed: h.Seed, Domain: rng.EmptyPrompt, Step: uint64(step), Item: item}).Float64() < h.ProportionEmptyPrompts
}

func (m *microBatches) draw(d rng.Domain, step int, item uint64, dst []float32) {
	rng.New(rng.Key{Seed: m.hyper.Seed, Domain: d, Step: uint64(step), Item: item}).FillNormal(dst)
}

// describe names the items of a micro-batch, for an operator.
func (m *microBatches) describe(step, mb int) string {
	text := ""
	for _, item := range m.plan.At(step)[mb] {
		text += fmt.Sprintf(" (pair %d, timestep %d)", item.Pair, item.Timestep)
	}
	return text
}
