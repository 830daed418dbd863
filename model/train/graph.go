// Package train is the pure part of a training step: the graph of a micro-batch (UNet, denoising errors, MaPO), its
// inputs, and its gradients. It knows nothing of optimizers, sums over micro-batches, workers or files of pairs.
//
// A micro-batch is P items, each one (pair, timestep, noise) draw. Its samples are [w_0 … w_{P−1}, l_0 … l_{P−1}]: all
// winners, then all losers, with the items' noises, timesteps and contexts repeated, not interleaved. The loss is the
// SUM over the items; whoever sums micro-batches divides by the number of items once.
//
// Source: mapo-t2i/mapo, the loop of train_mapo.py.
package train

import (
	"errors"
	"fmt"

	"yohaku/model/backend"
	"yohaku/model/checkpoint"
	"yohaku/model/compile"
	"yohaku/model/diffusion"
	"yohaku/model/objective"
	"yohaku/model/op"
	"yohaku/model/unet"
	"yohaku/model/weights"
)

// Config says what a micro-batch is.
type Config struct {
	UNet          unet.Config
	Objective     objective.Config
	Schedule      *diffusion.Schedule // Noise and targets, by its prediction_type.
	Items         int                 // P.
	Height, Width int                 // Of the latents.
	ContextLength int                 // Tokens of a prompt.
}

// Names of the graph's inputs.
const (
	inputSample    = "input.sample"
	inputTimesteps = "input.timesteps"
	inputContext   = "input.context"
	inputTarget    = "input.target"
	inputPooled    = "input.pooled"
	inputTimeIDs   = "input.time_ids"
)

// Step computes gradients of micro-batches. It belongs to one goroutine.
type Step struct {
	config Config
	exe    *compile.Executable
	noisy  []float32 // One sample, CHW.
	target []float32
}

// New builds, differentiates and compiles the graph for be. Parameters are zero until they are loaded into ParamSlab.
//
// It returns an error when c is not usable: no items, a size that the UNet cannot halve, a schedule or objective that is
// not valid, a UNet whose prediction is not the latents' shape.
func New(c Config, be backend.Backend) (*Step, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	b := op.NewBuilder()
	in := c.inputs(b)
	pred, err := unet.Build(b, c.UNet, in)
	if err != nil {
		return nil, fmt.Errorf("build the training graph: %w", err)
	}
	var loss, stats op.Node
	err = op.Build(func() {
		target := b.Input(inputTarget, in.Sample.Shape()...)
		loss = b.Apply(op.MaPO{Objective: c.Objective}, b.Apply(op.MSEPerSample{}, pred, target))
		stats = b.Aux(loss, 1)
	})
	if err != nil {
		return nil, fmt.Errorf("build the training loss: %w", err)
	}
	grads, err := b.Grad(loss, b.Params()...)
	if err != nil {
		return nil, fmt.Errorf("differentiate the training graph: %w", err)
	}
	exe, err := compile.Compile(b, be, []op.Node{loss, stats, pred}, grads, compile.Options{})
	if err != nil {
		return nil, fmt.Errorf("compile the training graph: %w", err)
	}
	n := c.UNet.InChannels * c.Height * c.Width
	return &Step{config: c, exe: exe, noisy: make([]float32, n), target: make([]float32, n)}, nil
}

// check holds what New's doc says, but for what unet.Build checks.
func (c Config) check() error {
	switch {
	case c.Items < 1:
		return fmt.Errorf("train_batch_size must be at least 1, got %d", c.Items)
	case c.Height < 1 || c.Width < 1 || c.ContextLength < 1:
		return fmt.Errorf("latents of %d×%d with %d tokens: all must be at least 1", c.Height, c.Width, c.ContextLength)
	case c.Schedule == nil:
		return errors.New("a training step needs a noise schedule")
	case c.UNet.OutChannels != c.UNet.InChannels:
		return fmt.Errorf("unet has in_channels %d and out_channels %d: training needs them equal", c.UNet.InChannels, c.UNet.OutChannels)
	}
	return c.Objective.Validate()
}

// inputs makes the UNet's inputs for 2P samples.
func (c Config) inputs(b *op.Builder) unet.Inputs {
	n := 2 * c.Items
	in := unet.Inputs{
		Sample:    b.Input(inputSample, n, c.Height, c.Width, c.UNet.InChannels),
		Timesteps: b.Input(inputTimesteps, n),
		Context:   b.Input(inputContext, n, c.ContextLength, c.UNet.ContextDim()),
	}
	if c.UNet.HasTextTime() {
		in.Pooled = b.Input(inputPooled, n, c.UNet.PooledDim())
		in.TimeIDs = b.Input(inputTimeIDs, n, unet.TimeIDs)
	}
	return in
}

// Params lists the parameters in the order the network makes them, all of them trained.
func (s *Step) Params() []compile.ParamInfo { return s.exe.Params() }

// ParamSlab is the memory of all parameters, in the engine's layouts; Params says where each one is.
func (s *Step) ParamSlab() []float32 { return s.exe.ParamSlab() }

// GradOrder lists the gradients in the order in which Run makes them; one for each parameter.
func (s *Step) GradOrder() []compile.ParamInfo { return s.exe.GradOrder() }

// Plan says what the compiled step costs.
func (s *Step) Plan() compile.PlanInfo { return s.exe.Plan() }

// Load fills the parameters from the UNet's folder f.
func (s *Step) Load(f *checkpoint.Folder) error {
	return weights.Load(s.exe, f, checkpoint.LoadOptions{})
}
