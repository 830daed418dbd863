// Package unet builds diffusers' UNet2DConditionModel as a graph, under diffusers' parameter names, from its config.json.
//
// It covers the models of Stable Diffusion 1 and 2 and of SDXL: blocks with and without cross-attention, SDXL's
// text_time embedding, linear and convolutional projections. Every key of the config is honoured or refused by name.
// Source: diffusers 0.42, models/unets/unet_2d_condition.py, unet_2d_blocks.py, models/transformers/transformer_2d.py.
package unet

import (
	"fmt"

	"yohaku/model/layer"
	"yohaku/model/op"
)

// TimeIDs is the number of SDXL's time ids: original size, crop corner, target size, two each.
const TimeIDs = 6

// timePeriod is the longest period of the sinusoids.
const timePeriod = 10000

// Inputs are the network's inputs; all but the last two are needed. All but Sample may have a batch of B/n: then sample i
// has row i mod B/n of them, and what depends on them alone is computed once for n samples.
type Inputs struct {
	Sample    op.Node // [B,h,w,in_channels], the noisy latents, NHWC.
	Timesteps op.Node // [B].
	Context   op.Node // [B,L,D], the text embeddings.
	Pooled    op.Node // [B,P], the pooled text embedding, for text_time models.
	TimeIDs   op.Node // [B,6], for text_time models.
}

// Build adds the network to b and returns the prediction [B,h,w,out_channels], NHWC. Parameters are made under
// diffusers' names in the order of the computation.
//
// It returns an error when an input is missing or has a shape that does not fit c: height and width must be multiples
// of c.Factor().
func Build(b *op.Builder, c Config, in Inputs) (op.Node, error) {
	return BuildAdapted(b, c, in, nil)
}

// BuildAdapted is Build with adapters beside the modules that l names; nil is none. It returns an error, too, when a
// target of l names no module.
func BuildAdapted(b *op.Builder, c Config, in Inputs, l *layer.LoRA) (pred op.Node, err error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if err := in.check(c); err != nil {
		return nil, err
	}
	n := &network{Module: layer.Module{B: b, LoRA: l}, config: c, context: in.Context}
	if err := op.Build(func() { pred = n.build(in) }); err != nil {
		return nil, err
	}
	return pred, l.Check(b)
}

// check holds the inputs' shapes to the config.
func (in Inputs) check(c Config) error {
	if in.Sample == nil || in.Timesteps == nil || in.Context == nil {
		return fmt.Errorf("unet inputs: sample, timesteps and context are needed")
	}
	s := in.Sample.Shape()
	if len(s) != 4 || s[3] != c.InChannels {
		return fmt.Errorf("unet input sample: shape %v, want [B,h,w,%d]", s, c.InChannels)
	}
	if f := c.Factor(); s[1]%f != 0 || s[2]%f != 0 {
		return fmt.Errorf("unet input sample: height %d and width %d must be multiples of %d; choose a resolution that is", s[1], s[2], f)
	}
	t := in.Timesteps.Shape()
	if len(t) != 1 || s[0]%t[0] != 0 {
		return fmt.Errorf("unet input timesteps: shape %v, want [%d], or a part of it that all samples share", t, s[0])
	}
	if x := in.Context.Shape(); len(x) != 3 || x[0] != t[0] || x[2] != c.ContextDim() {
		return fmt.Errorf("unet input context: shape %v, want [%d,L,%d]: does the text encoder belong to this model?", x, t[0], c.ContextDim())
	}
	if !c.HasTextTime() {
		return nil
	}
	if in.Pooled == nil || in.TimeIDs == nil {
		return fmt.Errorf("unet inputs: a text_time model needs the pooled text embedding and the time ids")
	}
	if p := in.Pooled.Shape(); len(p) != 2 || p[0] != t[0] || p[1] != c.PooledDim() {
		return fmt.Errorf("unet input pooled: shape %v, want [%d,%d]", p, t[0], c.PooledDim())
	}
	if ids := in.TimeIDs.Shape(); len(ids) != 2 || ids[0] != t[0] || ids[1] != TimeIDs {
		return fmt.Errorf("unet input time ids: shape %v, want [%d,%d]", ids, t[0], TimeIDs)
	}
	return nil
}

// network is the state of one Build.
type network struct {
	layer.Module
	config  Config
	context op.Node   // [B,L,D].
	time    op.Node   // [B,T], activated.
	skips   []op.Node // The down path's results, last first out.
}

func (n *network) build(in Inputs) op.Node {
	c := n.config
	n.time = n.timeEmbedding(in)
	h := n.Conv("conv_in", in.Sample, c.BlockOutChannels[0], c.ConvInKernel, 1, layer.Pad((c.ConvInKernel-1)/2))
	n.push(h)
	for i := range c.DownBlockTypes {
		h = n.down(i, h)
	}
	h = n.mid(h)
	for j := range c.UpBlockTypes {
		h = n.up(j, h)
	}
	h = n.GroupNorm("conv_norm_out", h, c.NormNumGroups, c.NormEps, true)
	return n.Conv("conv_out", h, c.OutChannels, c.ConvOutKernel, 1, layer.Pad((c.ConvOutKernel-1)/2))
}

// timeEmbedding returns silu of the embedding that every resnet adds: the timesteps', plus SDXL's added one.
func (n *network) timeEmbedding(in Inputs) op.Node {
	c := n.config
	e := n.sinusoids("time_proj", in.Timesteps, c.BlockOutChannels[0])
	e = n.embeddingMLP("time_embedding", e)
	if c.TimestepPostAct != nil {
		e = n.Apply(op.SiLU{}, e)
	}
	if c.HasTextTime() {
		e = n.Apply(op.Add{}, e, n.textTime(in))
	}
	if c.TimeEmbeddingActFn != nil {
		e = n.Apply(op.SiLU{}, e)
	}
	return n.Apply(op.SiLU{}, e)
}

// textTime embeds SDXL's pooled text and time ids: add_embedding([pooled ‖ sinusoids of the six ids]).
func (n *network) textTime(in Inputs) op.Node {
	batch, dim := in.TimeIDs.Shape()[0], *n.config.AdditionTimeEmbedDim
	ids := n.Reshape(in.TimeIDs, batch*TimeIDs)
	e := n.sinusoids("add_time_proj", ids, dim)
	e = n.Reshape(e, batch, TimeIDs*dim)
	return n.embeddingMLP("add_embedding", n.Apply(op.Concat{}, in.Pooled, e))
}

func (n *network) sinusoids(name string, t op.Node, dim int) op.Node {
	return n.Sub("%s", name).Apply(op.TimestepEmbedding{
		Dim: dim, FlipSinToCos: n.config.FlipSinToCos, FreqShift: n.config.FreqShift, MaxPeriod: timePeriod,
	}, t)
}

// embeddingMLP is TimestepEmbedding of diffusers: linear_2(silu(linear_1(e))).
func (n *network) embeddingMLP(name string, e op.Node) op.Node {
	m, dim := n.Sub("%s", name), n.config.TimeDim()
	return m.Linear("linear_2", m.Apply(op.SiLU{}, m.Linear("linear_1", e, dim, true)), dim, true)
}

func (n *network) push(h op.Node) { n.skips = append(n.skips, h) }

func (n *network) pop() op.Node {
	last := len(n.skips) - 1
	h := n.skips[last]
	n.skips = n.skips[:last]
	return h
}
