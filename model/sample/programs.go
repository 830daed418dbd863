package sample

import (
	"fmt"

	"yohaku/model/checkpoint"
	"yohaku/model/compile"
	"yohaku/model/op"
	"yohaku/model/unet"
	"yohaku/model/vae"
	"yohaku/model/weights"
)

// Names of the programs' inputs.
const (
	inputSample    = "input.sample"
	inputTimesteps = "input.timesteps"
	inputContext   = "input.context"
	inputPooled    = "input.pooled"
	inputTimeIDs   = "input.time_ids"
	inputLatents   = "input.latents"
)

// maxPrograms bounds the programs kept of a component, each with its own working memory: a full batch's and the last,
// smaller one's.
const maxPrograms = 2

// denoiser returns the UNet's program for s, the same one for the same shape.
func (p *Pipeline) denoiser(s shape) (*compile.Executable, error) {
	if e, ok := p.denoisers[s]; ok {
		return e, nil
	}
	b := op.NewBuilder()
	in := unet.Inputs{
		Sample:    b.Input(inputSample, s.batch, s.height, s.width, p.unet.InChannels),
		Timesteps: b.Input(inputTimesteps, s.batch),
		Context:   b.Input(inputContext, s.batch, p.text.Length(), p.text.Dim()),
	}
	if p.unet.HasTextTime() {
		in.Pooled = b.Input(inputPooled, s.batch, p.unet.PooledDim())
		in.TimeIDs = b.Input(inputTimeIDs, s.batch, unet.TimeIDs)
	}
	pred, err := unet.Build(b, p.unet, in)
	if err != nil {
		return nil, fmt.Errorf("build the unet: %w", err)
	}
	e, err := p.program(b, pred, p.network, &p.unetSlab, checkpoint.LoadOptions{})
	if err == nil {
		keep(p.denoisers, s, e)
	}
	return e, err
}

// decoder returns the autoencoder's decoder for s.
func (p *Pipeline) decoder(s shape) (*compile.Executable, error) {
	if e, ok := p.decoders[s]; ok {
		return e, nil
	}
	b := op.NewBuilder()
	image, err := vae.BuildDecoder(b, p.vae, b.Input(inputLatents, s.batch, s.height, s.width, p.vae.LatentChannels))
	if err != nil {
		return nil, fmt.Errorf("build the decoder: %w", err)
	}
	e, err := p.program(b, image, "vae", &p.vaeSlab, checkpoint.LoadOptions{Rename: vae.Rename, Partial: true})
	if err == nil {
		keep(p.decoders, s, e)
	}
	return e, err
}

// program compiles a component and gives it the weights in *slab, read from its folder the first time.
func (p *Pipeline) program(b *op.Builder, out op.Node, component string, slab *[]float32, o checkpoint.LoadOptions) (*compile.Executable, error) {
	e, err := compile.Compile(b, p.backend, []op.Node{out}, nil, compile.Options{})
	if err != nil {
		return nil, fmt.Errorf("compile the %s: %w", component, err)
	}
	if *slab != nil {
		e.BindParams(*slab)
		return e, nil
	}
	f, err := p.folder.Sub(component)
	if err != nil {
		return nil, err
	}
	if err := weights.Load(e, f, o); err != nil {
		return nil, err
	}
	if component == p.network {
		if err := p.merge(e); err != nil {
			return nil, err
		}
	}
	*slab = e.ParamSlab()
	return e, nil
}

func keep(programs map[shape]*compile.Executable, s shape, e *compile.Executable) {
	if len(programs) >= maxPrograms {
		clear(programs)
	}
	programs[s] = e
}
