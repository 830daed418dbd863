package worker

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"github.com/rs/zerolog"

	"yohaku/dataset/plan"
	"yohaku/internal/wire"
	"yohaku/model/backend/cpu"
	"yohaku/model/checkpoint"
	"yohaku/model/objective"
	"yohaku/model/train"
	"yohaku/model/unet"
	"yohaku/model/vae"
)

// Margins says of which pairs to compute what a tuned model makes of their labels.
type Margins struct {
	Base, Tuned string   // Pipeline folders.
	Shards      []string // Files of latents, in the order of the pairs.
	Pairs       int
	Timesteps   int        // Draws for each pair, at the middles of as many equal parts of the path.
	Hyper       wire.Hyper // Of the run.
	Threads     int        // 0: one for each core.
	Progress    func(pair int)
}

// marginStep keys the noise of margins: no step of a run draws the same.
const marginStep = 1 << 40

// Compute gives each pair's margin: how much further the tuned model has the loser's error above the winner's than
// the base has it, the mean over timesteps of
//
//	(m_l − m_w)_tuned − (m_l − m_w)_base
//
// on the same noise. It is below 0 where the model learned, from all pairs, to prefer what this pair calls the loser.
func (m Margins) Compute(ctx context.Context) (margins []float64, err error) {
	if m.Hyper.LoRARank > 0 {
		return nil, errors.New("margins of a run that trained adapters are not computed yet; audit with a run that trained the UNet")
	}
	w := &Worker{log: zerolog.Nop(), files: &files{local: &localFiles{base: m.Base}}}
	threads := m.Threads
	if threads <= 0 {
		threads = runtime.NumCPU()
	}
	w.backend = cpu.New(threads)
	defer w.backend.Close()
	batches, err := m.build(ctx, w)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, batches.pairs.close()) }()
	for pair := range m.Pairs {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		margin, err := m.pair(batches, pair)
		if err != nil {
			return nil, err
		}
		margins = append(margins, margin)
		m.Progress(pair + 1)
	}
	return margins, nil
}

// build compiles the pair's errors under both models: Diffusion-DPO's graph, whose log-odds at β = 2 are the margin.
func (m Margins) build(ctx context.Context, w *Worker) (*microBatches, error) {
	h := m.Hyper
	h.Form, h.BetaDPO, h.TrainBatchSize = objective.DPO, 2, m.Timesteps
	h.RandomFlip, h.MarginDrop, h.ProportionEmptyPrompts, h.LoserSafeguard = false, 0, 0, false
	base, err := checkpoint.OpenFolder(m.Base)
	if err != nil {
		return nil, fmt.Errorf("base model: %w", err)
	}
	autoencoder, err := vae.ReadConfig(base.FS(), "vae")
	if err != nil {
		return nil, err
	}
	schedule, err := readSchedule(base, h.PredictionType)
	if err != nil {
		return nil, err
	}
	network, err := unet.ReadConfig(base.FS(), "unet")
	if err != nil {
		return nil, err
	}
	var refs []wire.Ref
	for _, file := range m.Shards {
		refs = append(refs, wire.Ref{SHA256: file}) // By path: see localFiles.
	}
	pairs, err := w.openLatents(ctx, refs, m.Pairs, m.Timesteps, false)
	if err != nil {
		return nil, err
	}
	step, err := train.New(train.Config{
		UNet: network, Objective: loss(h, len(schedule.Betas)), Schedule: schedule, Items: m.Timesteps,
		Height: pairs.height, Width: pairs.width, ContextLength: pairs.contextLength,
	}, w.backend)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("build graph: %w", err), pairs.close())
	}
	if err := m.load(base, step); err != nil {
		return nil, errors.Join(err, pairs.close())
	}
	timesteps, err := plan.New(plan.Config{Pairs: m.Pairs, MicroBatches: 1, BatchSize: m.Timesteps, TimestepsPerPair: m.Timesteps, NumTrainTimesteps: len(schedule.Betas)})
	if err != nil {
		return nil, errors.Join(err, pairs.close())
	}
	return newMicroBatches(h, autoencoder, step, timesteps, pairs), nil
}

// load fills the reference from the base and the trained network from the tuned model.
func (m Margins) load(base *checkpoint.Folder, step *train.Step) error {
	if err := loadBase(base, step); err != nil {
		return fmt.Errorf("load base model: %w", err)
	}
	tuned, err := checkpoint.OpenFolder(m.Tuned)
	if err != nil {
		return fmt.Errorf("tuned model: %w", err)
	}
	network, err := tuned.Sub("unet")
	if err != nil {
		return fmt.Errorf("tuned model: %w", err)
	}
	if err := step.Load(network); err != nil {
		return fmt.Errorf("load tuned model: %w", err)
	}
	return nil
}

func (m Margins) pair(b *microBatches, pair int) (float64, error) {
	total := b.plan.Timesteps()
	for k := range b.items {
		at := plan.Item{Pair: pair, Timestep: (2*k + 1) * total / (2 * m.Timesteps), Index: uint64(pair*m.Timesteps + k)}
		if err := b.fill(&b.items[k], marginStep, at); err != nil {
			return 0, err
		}
	}
	if err := b.step.Fill(b.items); err != nil {
		return 0, err
	}
	r, err := b.step.Run(nil)
	if err != nil {
		return 0, fmt.Errorf("pair %d: %w", pair, err)
	}
	sum := 0.0
	for _, i := range r.Items {
		sum += i.LogOdds
	}
	return sum / float64(m.Timesteps), nil
}
