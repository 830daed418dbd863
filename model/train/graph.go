// Package train is the pure part of a training step: the graph of a micro-batch (UNet, denoising errors, loss), its
// inputs, and its gradients. It knows nothing of optimizers, sums over micro-batches, workers or files of pairs.
//
// A micro-batch is P items, each one (pair, timestep, noise) draw. Its samples are [w_0 … w_{P−1}, l_0 … l_{P−1}]: all
// winners, then all losers, with the items' noises, timesteps and contexts repeated, not interleaved; where losers do
// not count (SFT), the winners alone. The loss is the SUM over the items; whoever sums micro-batches divides by the
// number of items once.
//
// Diffusion-DPO compares with a reference model, frozen: a second program without gradients, over weights of its own.
//
// Source: mapo-t2i/mapo, the loop of train_mapo.py; diffusers, train_diffusion_dpo.py.
package train

import (
	"errors"
	"fmt"
	"hash/fnv"
	"slices"

	"yohaku/internal/rng"
	"yohaku/model/backend"
	"yohaku/model/checkpoint"
	"yohaku/model/compile"
	"yohaku/model/diffusion"
	"yohaku/model/layer"
	"yohaku/model/lora"
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
	SNRGamma      float64             // Min-SNR weighting of the winners' errors; 0 is none.
	LoRA          *layer.LoRA         // Train adapters beside a frozen UNet; nil trains the UNet itself.
	Memory        Memory
	BF16          bool // Mixed precision: products in bf16, parameters, sums, norms and losses in float32.
	Profile       bool // Measure each instruction; see Step.Profile.
}

// Names of the graph's inputs.
const (
	inputSample    = "input.sample"
	inputTimesteps = "input.timesteps"
	inputContext   = "input.context"
	inputTarget    = "input.target"
	inputPooled    = "input.pooled"
	inputTimeIDs   = "input.time_ids"
	inputTerms     = "input.terms"
)

// Step computes gradients of micro-batches. It belongs to one goroutine.
type Step struct {
	config    Config
	exe       *compile.Executable
	reference *compile.Executable // Its output is the errors; nil where the loss needs none.
	noisy     []float32           // One sample, CHW.
	target    []float32
	stats     []ItemStats
}

// New builds, differentiates and compiles the graph for be. Parameters are zero until they are loaded into ParamSlab.
//
// It returns an error when c is not usable: no items, a size that the UNet cannot halve, a schedule or objective that is
// not valid, a UNet whose prediction is not the latents' shape.
func New(c Config, be backend.Backend) (*Step, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	n := c.UNet.InChannels * c.Height * c.Width
	s := &Step{config: c, noisy: make([]float32, n), target: make([]float32, n), stats: make([]ItemStats, c.Items)}
	var err error
	if s.exe, err = c.program(be); err != nil {
		return nil, err
	}
	if c.Objective.NeedsReference() {
		if s.reference, err = c.referenceProgram(be); err != nil {
			return nil, err
		}
		if c.LoRA != nil { // The base under the adapters is the reference.
			_, base := s.exe.Frozen()
			s.reference.BindParams(base)
		}
	}
	return s, nil
}

// graph is the loss with its gradients, before it is compiled.
type graph struct {
	*op.Builder
	outputs, grads, trained []op.Node
}

func (c Config) graph() (graph, error) {
	b := op.NewBuilder()
	e, err := c.errors(b, c.LoRA)
	if err != nil {
		return graph{}, err
	}
	var loss, stats op.Node
	err = op.Build(func() {
		in := []op.Node{e.mse, b.Input(inputTerms, c.Items, op.PairTerms)}
		if c.Objective.LoserSafeguard {
			in = append(in, b.Apply(op.ErrorProduct{}, e.pred, e.target))
		}
		loss = b.Apply(op.PairLoss{Objective: c.Objective}, in...)
		stats = b.Aux(loss, 1)
	})
	if err != nil {
		return graph{}, fmt.Errorf("build the training loss: %w", err)
	}
	g := graph{Builder: b, outputs: []op.Node{loss, stats, e.pred}, trained: c.trained(b.Params())}
	if g.grads, err = b.Grad(loss, g.trained...); err != nil {
		return graph{}, fmt.Errorf("differentiate the training graph: %w", err)
	}
	return g, nil
}

// program compiles the loss with its gradients.
func (c Config) program(be backend.Backend) (*compile.Executable, error) {
	g, err := c.graph()
	if err != nil {
		return nil, err
	}
	exe, err := compile.Compile(g.Builder, be, g.outputs, g.grads, c.options(g.Params(), g.trained))
	if err != nil {
		return nil, fmt.Errorf("compile the training graph: %w", c.explain(err, c.fixed(g.Params(), g.trained)))
	}
	return exe, nil
}

// Cost is what a training step takes.
type Cost struct {
	compile.PlanInfo       // Of one micro-batch.
	Trained, Frozen  int64 // Parameters.
}

// Estimate returns the cost of the step that New would make, without its memory, and New's error.
func Estimate(c Config, be backend.Backend) (Cost, error) {
	if err := c.check(); err != nil {
		return Cost{}, err
	}
	g, err := c.graph()
	if err != nil {
		return Cost{}, err
	}
	cost := Cost{}
	if cost.PlanInfo, err = compile.Estimate(g.Builder, be, g.outputs, g.grads, c.options(g.Params(), g.trained)); err != nil {
		return Cost{}, fmt.Errorf("plan the training graph: %w", c.explain(err, c.fixed(g.Params(), g.trained)))
	}
	for _, p := range g.Params() {
		cost.Frozen += int64(p.Shape().TotalSize())
	}
	for _, p := range g.trained {
		cost.Trained += int64(p.Shape().TotalSize())
	}
	cost.Frozen -= cost.Trained
	return cost, nil
}

// referenceProgram compiles the errors of a frozen model.
func (c Config) referenceProgram(be backend.Backend) (*compile.Executable, error) {
	b := op.NewBuilder()
	e, err := c.errors(b, nil)
	if err != nil {
		return nil, err
	}
	exe, err := compile.Compile(b, be, []op.Node{e.mse}, nil, compile.Options{})
	if err != nil {
		return nil, fmt.Errorf("compile the reference model's graph: %w", err)
	}
	return exe, nil
}

// errorNodes are a network's predictions, their targets and errors.
type errorNodes struct{ pred, target, mse op.Node }

// errors builds the network, with adapters if l is not nil, and the denoising errors of its samples.
func (c Config) errors(b *op.Builder, l *layer.LoRA) (e errorNodes, err error) {
	in := c.inputs(b)
	if e.pred, err = unet.BuildAdapted(b, c.UNet, in, l); err != nil {
		return e, fmt.Errorf("build the training graph: %w", err)
	}
	err = op.Build(func() {
		e.target = b.Input(inputTarget, in.Sample.Shape()...)
		e.mse = b.Apply(op.MSEPerSample{}, e.pred, e.target)
	})
	if err != nil {
		return e, fmt.Errorf("build the denoising errors: %w", err)
	}
	return e, nil
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
	if c.LoRA != nil {
		if err := c.LoRA.Validate(); err != nil {
			return err
		}
	}
	return c.Objective.Validate()
}

// trained picks the parameters to train.
func (c Config) trained(params []op.Node) []op.Node {
	if c.LoRA == nil {
		return params
	}
	return slices.DeleteFunc(slices.Clone(params), func(p op.Node) bool { return !layer.IsAdapter(p.Name()) })
}

// inputs makes the UNet's inputs for all samples of the items. Winner and loser share all but their pictures.
func (c Config) inputs(b *op.Builder) unet.Inputs {
	n := c.Items
	in := unet.Inputs{
		Sample:    b.Input(inputSample, c.Objective.SamplesPerItem()*n, c.Height, c.Width, c.UNet.InChannels),
		Timesteps: b.Input(inputTimesteps, n),
		Context:   b.Input(inputContext, n, c.ContextLength, c.UNet.ContextDim()),
	}
	if c.UNet.HasTextTime() {
		in.Pooled = b.Input(inputPooled, n, c.UNet.PooledDim())
		in.TimeIDs = b.Input(inputTimeIDs, n, unet.TimeIDs)
	}
	return in
}

// Params lists the trained parameters in the order the network makes them.
func (s *Step) Params() []compile.ParamInfo { params, _ := s.exe.Trained(); return params }

// ParamSlab is the memory of the trained parameters, in the engine's layouts; Params says where each one is.
func (s *Step) ParamSlab() []float32 { _, slab := s.exe.Trained(); return slab }

// GradOrder lists the gradients in the order in which Run makes them; one for each parameter.
func (s *Step) GradOrder() []compile.ParamInfo { return s.exe.GradOrder() }

// Plan says what the compiled step costs.
func (s *Step) Plan() compile.PlanInfo { return s.exe.Plan() }

// Profile tells what each instruction took, with Config.Profile.
func (s *Step) Profile() []compile.InstructionProfile { return s.exe.Profile() }

// ResetProfile forgets what was measured so far.
func (s *Step) ResetProfile() { s.exe.ResetProfile() }

// Modules lists the paths of the base network's modules that have a weight.
func (s *Step) Modules() []string {
	return lora.Modules(weights.Params(s.exe.Frozen()))
}

// Load fills the trained parameters from the weights in f, under their own names.
func (s *Step) Load(f *checkpoint.Folder) error {
	params, slab := s.exe.Trained()
	return weights.Fill(params, slab, f, checkpoint.LoadOptions{})
}

// LoadBase fills what training does not change from the base UNet's folder f: the network under adapters, and the
// reference model.
func (s *Step) LoadBase(f *checkpoint.Folder) error {
	switch {
	case s.config.LoRA != nil:
		params, slab := s.exe.Frozen()
		return weights.Fill(params, slab, f, checkpoint.LoadOptions{})
	case s.reference != nil:
		return weights.Load(s.reference, f, checkpoint.LoadOptions{})
	}
	return nil
}

// InitAdapters draws the adapters as diffusers' scripts do: A from a normal distribution with deviation 1/Rank, B zero,
// so that the network begins as its base. The draws are keyed by seed and name.
func (s *Step) InitAdapters(seed uint64) {
	params, slab := s.exe.Trained()
	for _, p := range params {
		data := slab[p.Offset : p.Offset+p.Len]
		if _, down := layer.AdaptedModule(p.Name); !down {
			clear(data)
			continue
		}
		h := fnv.New64a()
		h.Write([]byte(p.Name)) // Never fails.
		rng.New(rng.Key{Seed: seed, Domain: rng.Adapter, Item: h.Sum64()}).FillNormal(data)
		for i := range data {
			data[i] /= float32(s.config.LoRA.Rank)
		}
	}
}
