package worker

import (
	"context"
	"fmt"
	"strings"

	"yohaku/allreduce/fixedpoint"
	"yohaku/dataset/plan"
	"yohaku/internal/wire"
	"yohaku/model/checkpoint"
	"yohaku/model/diffusion"
	"yohaku/model/kernel"
	"yohaku/model/layer"
	"yohaku/model/objective"
	"yohaku/model/optim"
	"yohaku/model/train"
	"yohaku/model/unet"
	"yohaku/model/vae"
	"yohaku/worker/trainstep"
)

// build compiles the training graph, unless it is there.
func (w *Worker) build(ctx context.Context, r *resident, j wire.TrainJob) error {
	if r.built {
		return nil
	}
	folder, _, err := w.modelFolder(ctx, j.Model)
	if err != nil {
		return fmt.Errorf("fetch model: %w", err)
	}
	h := j.Hyper
	if r.pairs, err = w.openLatents(ctx, j.Shards, j.Pairs, h.TrainBatchSize, h.ProportionEmptyPrompts > 0); err != nil {
		return err
	}
	autoencoder, err := vae.ReadConfig(folder.FS(), "vae")
	if err != nil {
		return err
	}
	schedule, err := readSchedule(folder, h.PredictionType)
	if err != nil {
		return err
	}
	network, err := unet.ReadConfig(folder.FS(), "unet")
	if err != nil {
		return err
	}
	step, err := train.New(train.Config{
		UNet: network, Objective: loss(h, len(schedule.Betas)), SNRGamma: h.SNRGamma, LoRA: adapters(h),
		Schedule: schedule, Items: h.TrainBatchSize, Height: r.pairs.height, Width: r.pairs.width, ContextLength: r.pairs.contextLength,
		Memory: w.memory(len(j.Nodes), h.EMADecay > 0), Profile: w.o.Profile != "", BF16: h.MixedPrecision == "bf16",
	}, w.backend)
	if err != nil {
		return fmt.Errorf("build training graph: %w", err)
	}
	if err := loadBase(folder, step); err != nil {
		return fmt.Errorf("load base model: %w", err)
	}
	items, err := plan.New(plan.Config{
		Seed: h.Seed, Pairs: j.Pairs, MicroBatches: h.GradientAccumulationSteps, BatchSize: h.TrainBatchSize,
		TimestepsPerPair: h.TimestepsPerPair, NumTrainTimesteps: len(schedule.Betas),
	})
	if err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	r.model = newMicroBatches(h, autoencoder, step, items, r.pairs)
	r.model.fault = w.o.Fault
	if err := r.newTrainer(j, items.ItemsPerStep(), w.backend.Pool()); err != nil {
		return err
	}
	if err := r.plan(); err != nil {
		return err
	}
	train.BoundHeap(w.o.Memory)
	if r.profiling, err = w.profile(step); err != nil {
		return err
	}
	r.built, r.base, r.lora = true, j.Model, adapters(h)
	return nil
}

// loss is the objective that the settings ask for, over a path of so many timesteps.
func loss(h wire.Hyper, timesteps int) objective.Config {
	c := objective.Config{Form: h.Form, Beta: h.BetaMaPO, SNR: h.SNRValue, Scale: float64(timesteps), LoserSafeguard: h.LoserSafeguard}
	if h.Form == objective.DPO {
		c.Beta = h.BetaDPO
	}
	return c
}

// adapters are those to train; nil trains the UNet itself.
func adapters(h wire.Hyper) *layer.LoRA {
	if h.LoRARank == 0 {
		return nil
	}
	return &layer.LoRA{Rank: h.LoRARank, Alpha: h.LoRAAlpha, Targets: strings.Split(h.LoRATargets, ",")}
}

// readSchedule reads the noise schedule to train with.
func readSchedule(folder *checkpoint.Folder, predictionType string) (*diffusion.Schedule, error) {
	c, err := diffusion.ReadConfig(folder.FS(), "scheduler")
	if err != nil {
		return nil, err
	}
	if predictionType != "" {
		c.PredictionType = predictionType
	}
	return c.Schedule(), nil
}

// loadBase fills what training does not change, from the base model.
func loadBase(base *checkpoint.Folder, step *train.Step) error {
	sub, err := base.Sub("unet")
	if err != nil {
		return err
	}
	return step.LoadBase(sub)
}

func (r *resident) newTrainer(j wire.TrainJob, itemsPerStep int, pool *kernel.Pool) error {
	h := j.Hyper
	format, err := fixedpoint.ParseFormat(h.WireFormat)
	if err != nil {
		return err
	}
	rate, err := optim.LearningRate(h.LRScheduler, optim.Config{
		LearningRate: h.LearningRate, WarmupSteps: h.LRWarmupSteps, TotalSteps: j.LastStep, NumCycles: h.LRNumCycles, Power: h.LRPower,
	})
	if err != nil {
		return err
	}
	r.trainer, err = trainstep.New(r.model, trainstep.Hyper{
		Optimizer:    optim.AdamW{Beta1: h.AdamBeta1, Beta2: h.AdamBeta2, Eps: h.AdamEpsilon, WeightDecay: h.AdamWeightDecay},
		LearningRate: rate, MaxGradNorm: h.MaxGradNorm, EMADecay: h.EMADecay, MicroBatches: h.GradientAccumulationSteps, ItemsPerStep: itemsPerStep,
		Audited: func(step int) []int { return audited(h, step) },
		Format:  format, Seed: h.Seed,
	}, pool)
	return err
}
