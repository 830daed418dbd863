package worker

import (
	"bytes"
	"context"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"yohaku/allreduce/fixedpoint"
	"yohaku/dataset/plan"
	"yohaku/internal/wire"
	"yohaku/model/checkpoint"
	"yohaku/model/diffusion"
	"yohaku/model/objective"
	"yohaku/model/optim"
	"yohaku/model/train"
	"yohaku/model/unet"
	"yohaku/model/vae"
	"yohaku/model/weights"
	"yohaku/worker/trainstep"
)

// sync makes parameters, optimizer state and exponents those of the generation's first step.
func (r *rank) sync(ctx context.Context) error {
	model := r.job.Model
	if r.job.State != nil {
		model = model.With("unet", r.job.State.UNet)
	}
	folder, _, err := r.w.modelFolder(ctx, model)
	if err != nil {
		return fmt.Errorf("fetch model: %w", err)
	}
	if err := r.build(ctx, folder); err != nil {
		return err
	}
	if err := r.loadState(ctx); err != nil {
		return err
	}
	r.params = digest(r.model.step.ParamSlab())
	return nil
}

// build compiles the training graph of the model in folder and loads its weights.
func (r *rank) build(ctx context.Context, folder *checkpoint.Folder) error {
	h := r.job.Hyper
	pairs, err := r.w.openLatents(ctx, r.job.Shards, r.job.Pairs, h.TrainBatchSize)
	if err != nil {
		return err
	}
	r.pairs = pairs
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
		UNet: network, Objective: objective.Config{Form: h.Form, Beta: h.BetaMaPO, SNR: h.SNRValue, Scale: float64(len(schedule.Betas))},
		Schedule: schedule, Items: h.TrainBatchSize, Height: pairs.height, Width: pairs.width, ContextLength: pairs.contextLength,
	}, r.w.backend)
	if err != nil {
		return fmt.Errorf("build training graph: %w", err)
	}
	if err := loadUNet(folder, step); err != nil {
		return err
	}
	items, err := plan.New(plan.Config{
		Seed: h.Seed, Pairs: r.job.Pairs, MicroBatches: h.GradientAccumulationSteps, BatchSize: h.TrainBatchSize,
		TimestepsPerPair: h.TimestepsPerPair, NumTrainTimesteps: len(schedule.Betas),
	})
	if err != nil {
		return fmt.Errorf("plan: %w", err)
	}
	r.model = newMicroBatches(h, autoencoder, step, items, pairs)
	return r.newTrainer(items.ItemsPerStep())
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

func loadUNet(folder *checkpoint.Folder, step *train.Step) error {
	sub, err := folder.Sub("unet")
	if err != nil {
		return err
	}
	w, err := sub.Weights("")
	if err != nil {
		return err
	}
	defer w.Close() // Only read.
	return w.Load(weights.Params(step.Params(), step.ParamSlab()), checkpoint.LoadOptions{})
}

func (r *rank) newTrainer(itemsPerStep int) error {
	h := r.job.Hyper
	rate, err := optim.LearningRate(h.LRScheduler, optim.Config{
		LearningRate: h.LearningRate, WarmupSteps: h.LRWarmupSteps, TotalSteps: r.job.LastStep, NumCycles: h.LRNumCycles, Power: h.LRPower,
	})
	if err != nil {
		return err
	}
	r.trainer, err = trainstep.New(r.model, trainstep.Hyper{
		Optimizer:    optim.AdamW{Beta1: h.AdamBeta1, Beta2: h.AdamBeta2, Eps: h.AdamEpsilon, WeightDecay: h.AdamWeightDecay},
		LearningRate: rate, MaxGradNorm: h.MaxGradNorm, MicroBatches: h.GradientAccumulationSteps, ItemsPerStep: itemsPerStep,
	})
	if err != nil {
		return err
	}
	r.reducer = newReducer(r.ring, len(r.job.Nodes), r.trainer.Layout())
	return nil
}

// moments are the optimizer's slabs as named parameters, in the engine's layout.
func (r *rank) moments() (m, v []checkpoint.Param) {
	state := r.trainer.State()
	infos := slices.Clone(r.model.step.GradOrder())
	at := 0
	for i := range infos {
		infos[i].Offset = at
		at += infos[i].Len
	}
	return weights.Params(infos, state.M), weights.Params(infos, state.V)
}

// updatesKey is the trainer state's metadata key of the number of updates made.
const updatesKey = "updates"

// loadState fills the optimizer state from the checkpoint, if the generation starts from one.
func (r *rank) loadState(ctx context.Context) error {
	if r.job.State == nil {
		return nil
	}
	dir, err := r.w.files.folder(ctx, []wire.ModelFile{{Path: checkpoint.StateFile, Ref: r.job.State.Trainer}})
	if err != nil {
		return fmt.Errorf("fetch trainer state: %w", err)
	}
	folder, err := checkpoint.OpenFolder(dir)
	if err != nil {
		return err
	}
	m, v := r.moments()
	saved, err := folder.ReadState(m, v)
	if err != nil {
		return err
	}
	state := r.trainer.State()
	if len(saved.Exponents) != len(state.Exponents) || saved.Step != r.job.FirstStep {
		return fmt.Errorf("trainer state: step %d with %d exponents, want step %d with %d: it belongs to another run or model", saved.Step, len(saved.Exponents), r.job.FirstStep, len(state.Exponents))
	}
	copy(state.Exponents, saved.Exponents)
	if state.Updates, err = strconv.Atoi(saved.Metadata[updatesKey]); err != nil {
		return fmt.Errorf("trainer state: metadata %s: %w", updatesKey, err)
	}
	return nil
}

// save hands over a checkpoint of the state after step steps. All ranks hold the same, so rank 0
// does it alone.
func (r *rank) save(ctx context.Context, step int) error {
	if r.job.Rank != 0 {
		return nil
	}
	params := weights.Params(r.model.step.Params(), r.model.step.ParamSlab())
	state := r.checkpointState(step)
	out := &wire.TrainState{Step: step, SHA256: checkpoint.Digest(params, state)}
	var data bytes.Buffer
	if err := checkpoint.WriteWeights(&data, params, ""); err != nil {
		return fmt.Errorf("write weights: %w", err)
	}
	ref, err := r.w.files.put(ctx, data.Bytes())
	if err != nil {
		return err
	}
	out.UNet = append(r.unetConfig(), wire.ModelFile{Path: checkpoint.DefaultWeightsFile, Ref: ref})
	data.Reset()
	if err := checkpoint.WriteState(&data, state); err != nil {
		return fmt.Errorf("write trainer state: %w", err)
	}
	if out.Trainer, err = r.w.files.put(ctx, data.Bytes()); err != nil {
		return err
	}
	r.state = out
	return r.w.report(wire.Report{JobID: r.id, Checkpoint: out})
}

func (r *rank) checkpointState(step int) checkpoint.State {
	m, v := r.moments()
	state := r.trainer.State()
	return checkpoint.State{
		Step: step, M: m, V: v, Exponents: append(fixedpoint.Exponents(nil), state.Exponents...),
		Metadata: map[string]string{updatesKey: strconv.Itoa(state.Updates)},
	}
}

// unetConfig is the base's configuration of the UNet, which a checkpoint carries on.
func (r *rank) unetConfig() []wire.ModelFile {
	for _, f := range r.job.Model.Files {
		if dir, name := path.Split(f.Path); strings.TrimSuffix(dir, "/") == "unet" && name == "config.json" {
			return []wire.ModelFile{{Path: name, Ref: f.Ref}}
		}
	}
	return nil
}
