package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"yohaku/allreduce/fixedpoint"
	"yohaku/internal/wire"
	"yohaku/model/checkpoint"
	"yohaku/model/compile"
	"yohaku/model/lora"
	"yohaku/model/weights"
	"yohaku/worker/lifecycle"
)

// sync makes parameters, optimizer state and exponents those of the generation's first step.
func (r *rank) sync(ctx context.Context, source lifecycle.Source) error {
	if err := r.w.build(ctx, r.res, r.job); err != nil {
		return err
	}
	r.res.share(len(r.job.Nodes) > 1 || source == lifecycle.TakeSums)
	defer func() { r.res.stepped = time.Now() }()
	var err error
	switch source {
	case lifecycle.Keep:
		return nil // Its digest stays the one it was made with, which tells if it changed since.
	case lifecycle.TakeSums:
		if r.job.Sums == nil {
			return errors.New("the order names no sums to take")
		}
		err = r.takeSums(ctx, *r.job.Sums)
	case lifecycle.LoadState:
		r.res.steps, r.res.told, r.res.stats = nil, 0, nil
		err = r.loadState(ctx)
	}
	if err != nil {
		return err
	}
	r.res.replica = r.res.trainer.Digest()
	return nil
}

// moments are the optimizer's slabs as named parameters, in the engine's layout.
func (r *resident) moments() (m, v []checkpoint.Param) {
	state, infos := r.trainer.State(), r.inOrder()
	return weights.Params(infos, state.M), weights.Params(infos, state.V)
}

// inOrder says where parameters lie in the trainer's slabs.
func (r *resident) inOrder() []compile.ParamInfo {
	infos := slices.Clone(r.model.step.GradOrder())
	at := 0
	for i := range infos {
		infos[i].Offset = at
		at += infos[i].Len
	}
	return infos
}

// average is the parameters' moving average as named parameters, in the engine's layout; nil where none is kept.
func (r *resident) average() []checkpoint.Param {
	if r.trainer.State().EMA == nil {
		return nil
	}
	return weights.Params(r.inOrder(), r.trainer.State().EMA)
}

// updatesKey is the trainer state's metadata key of the number of updates made.
const updatesKey = "updates"

// loadState takes the state that the order names: of another rank, of a checkpoint, or the base model's.
func (r *rank) loadState(ctx context.Context) error {
	state := r.job.State
	if state == nil {
		r.res.trainer.Reset()
		return r.loadBaseState(ctx)
	}
	dir, err := r.w.files.folder(ctx, state.Weights)
	if err != nil {
		return fmt.Errorf("fetch state: %w", err)
	}
	if err := r.loadWeights(dir); err != nil {
		return err
	}
	if err := r.loadOptimizer(ctx, state); err != nil {
		return err
	}
	if err := r.loadAverage(dir); err != nil {
		return err
	}
	if state.SHA256 == "" {
		return nil // Of a recomputation, whose files were checked.
	}
	params := weights.Params(r.res.model.step.Params(), r.res.model.step.ParamSlab())
	if got := checkpoint.Digest(params, r.res.checkpointState(state.Step)); got != state.SHA256 {
		return fmt.Errorf("the state of step %d has digest %.12s… here, %.12s… where it came from", state.Step, got, state.SHA256)
	}
	return r.w.files.forget(state, r.job.Model)
}

// loadBaseState begins at the base model.
func (r *rank) loadBaseState(ctx context.Context) error {
	if adapters(r.job.Hyper) != nil {
		r.res.model.step.InitAdapters(r.job.Hyper.Seed)
		return nil
	}
	dir, _, err := r.w.files.model(ctx, r.job.Model)
	if err != nil {
		return fmt.Errorf("fetch model: %w", err)
	}
	if err := r.loadWeights(dir); err != nil {
		return err
	}
	r.res.trainer.BeginEMA()
	return nil
}

// loadAverage fills the moving average, if one is kept, from the checkpoint folder dir.
func (r *rank) loadAverage(dir string) error {
	average := r.res.average()
	if average == nil {
		return nil
	}
	w, err := checkpoint.OpenWeights(filepath.Join(dir, checkpoint.EMAFolder))
	if err != nil {
		return fmt.Errorf("moving average: %w", err)
	}
	return errors.Join(w.Load(average, checkpoint.LoadOptions{}), w.Close())
}

// loadWeights fills the trained parameters from the pipeline or checkpoint folder dir.
func (r *rank) loadWeights(dir string) error {
	folder, err := checkpoint.OpenFolder(dir)
	if err != nil {
		return err
	}
	step := r.res.model.step
	if l := adapters(r.job.Hyper); l != nil {
		set, err := lora.ReadFolder(folder, lora.Networks{lora.UNet: step.Modules()})
		if err != nil {
			return err
		}
		return set[lora.UNet].Fill(weights.Params(step.Params(), step.ParamSlab()), *l)
	}
	sub, err := folder.Sub("unet")
	if err != nil {
		return err
	}
	return step.Load(sub)
}

func (r *rank) loadOptimizer(ctx context.Context, from *wire.TrainState) error {
	dir, err := r.w.files.folder(ctx, []wire.ModelFile{{Path: checkpoint.StateFile, Ref: from.Trainer}})
	if err != nil {
		return fmt.Errorf("fetch trainer state: %w", err)
	}
	folder, err := checkpoint.OpenFolder(dir)
	if err != nil {
		return err
	}
	r.res.trainer.Reset()
	m, v := r.res.moments()
	saved, err := folder.ReadState(m, v)
	if err != nil {
		return err
	}
	state := r.res.trainer.State()
	if len(saved.Exponents) != len(state.Exponents) || saved.Step != r.job.FirstStep {
		return fmt.Errorf("trainer state: step %d with %d exponents, want step %d with %d: it belongs to another run or model", saved.Step, len(saved.Exponents), r.job.FirstStep, len(state.Exponents))
	}
	copy(state.Exponents, saved.Exponents)
	if state.Updates, err = strconv.Atoi(saved.Metadata[updatesKey]); err != nil {
		return fmt.Errorf("trainer state: metadata %s: %w", updatesKey, err)
	}
	return nil
}

// writeWeights writes the trained parameters in the format of their file.
func (r *resident) writeWeights(out io.Writer, params []checkpoint.Param) error {
	if r.lora != nil {
		return lora.Set{lora.UNet: lora.FromParams(params, *r.lora)}.Write(out, lora.Diffusers, r.baseDigest())
	}
	return checkpoint.WriteWeights(out, params, "")
}

// weightsName is where in a pipeline folder that file lies.
func (r *resident) weightsName() string {
	if r.lora != nil {
		return lora.FileName
	}
	return path.Join("unet", checkpoint.DefaultWeightsFile)
}

// baseDigest names the base's UNet, for an adapter's metadata: the SHA-256 of its weights' file, if it is one.
func (r *resident) baseDigest() string {
	for _, f := range r.base.Files {
		if path.Dir(f.Path) == "unet" && path.Ext(f.Path) == ".safetensors" {
			return f.Ref.SHA256
		}
	}
	return ""
}

func (r *resident) checkpointState(step int) checkpoint.State {
	m, v := r.moments()
	state := r.trainer.State()
	return checkpoint.State{
		Step: step, M: m, V: v, EMA: r.average(), Exponents: append(fixedpoint.Exponents(nil), state.Exponents...),
		Metadata: map[string]string{updatesKey: strconv.Itoa(state.Updates)},
	}
}

// unetConfig is the base's configuration of the UNet, which a checkpoint carries on, in the given folder.
func (r *resident) unetConfig(folder string) []wire.ModelFile {
	for _, f := range r.base.Files {
		if f.Path == path.Join("unet", "config.json") {
			return []wire.ModelFile{{Path: path.Join(folder, "config.json"), Ref: f.Ref}}
		}
	}
	return nil
}
