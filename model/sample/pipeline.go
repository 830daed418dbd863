// Package sample makes pictures from prompts with a StableDiffusionPipeline folder: text encoder, denoising loop with
// classifier-free guidance, decoder.
//
// A picture depends on its prompt, seed and options only, never on the other pictures of its batch or on threads: noise
// is keyed by (seed, step). Source: diffusers 0.42, pipelines/stable_diffusion/pipeline_stable_diffusion.py.
package sample

import (
	"fmt"

	"yohaku/model/backend"
	"yohaku/model/checkpoint"
	"yohaku/model/compile"
	"yohaku/model/diffusion"
	"yohaku/model/encode"
	"yohaku/model/unet"
	"yohaku/model/vae"
)

// Pipeline is a model folder that is ready to sample. It belongs to one goroutine.
type Pipeline struct {
	backend   backend.Backend
	folder    *checkpoint.Folder
	unet      unet.Config
	vae       vae.Config
	scheduler diffusion.Config
	text      *encode.Text
	embeds    map[string][]float32 // By prompt.
	denoisers map[shape]*compile.Executable
	decoders  map[shape]*compile.Executable
	unetSlab  []float32 // The weights that all denoisers share; nil before the first.
	vaeSlab   []float32
}

// shape is a batch of latents.
type shape struct{ batch, height, width int }

// textBatch is how many prompts are encoded at once.
const textBatch = 4

// Open reads the pipeline folder f: model_index.json, text_encoder, tokenizer, unet, vae and scheduler. Weights of the
// UNet and the decoder are read when the first picture is made.
//
// It returns an error that names the component when a part is missing, or is of a class or has a value that is not
// supported; a scheduler without a sampler is refused by Generate only.
func Open(f *checkpoint.Folder, be backend.Backend) (*Pipeline, error) {
	p := &Pipeline{backend: be, folder: f, embeds: map[string][]float32{},
		denoisers: map[shape]*compile.Executable{}, decoders: map[shape]*compile.Executable{}}
	var err error
	if p.unet, err = unet.ReadConfig(f.FS(), "unet"); err != nil {
		return nil, fmt.Errorf("open the pipeline in %s: %w", f.Path(), err)
	}
	if p.vae, err = vae.ReadConfig(f.FS(), "vae"); err != nil {
		return nil, fmt.Errorf("open the pipeline in %s: %w", f.Path(), err)
	}
	if p.scheduler, err = diffusion.ReadConfig(f.FS(), "scheduler"); err != nil {
		return nil, fmt.Errorf("open the pipeline in %s: %w", f.Path(), err)
	}
	if p.text, err = openText(f, be); err != nil {
		return nil, err
	}
	return p, p.check()
}

func openText(f *checkpoint.Folder, be backend.Backend) (*encode.Text, error) {
	text, err := f.Sub("text_encoder")
	if err != nil {
		return nil, err
	}
	tokens, err := f.Sub("tokenizer")
	if err != nil {
		return nil, err
	}
	return encode.OpenText(text, tokens, be, textBatch)
}

// check holds the components to each other.
func (p *Pipeline) check() error {
	at := p.folder.Path()
	switch {
	case p.unet.HasTextTime():
		return fmt.Errorf("open the pipeline in %s: the unet takes pooled text and time ids (SDXL), which sampling does not support yet", at)
	case p.unet.ContextDim() != p.text.Dim():
		return fmt.Errorf("open the pipeline in %s: the unet's cross_attention_dim is %d, the text encoder's hidden_size %d: they belong to different models", at, p.unet.ContextDim(), p.text.Dim())
	case p.unet.InChannels != p.vae.LatentChannels || p.unet.OutChannels != p.vae.LatentChannels:
		return fmt.Errorf("open the pipeline in %s: the unet has %d to %d channels, the vae's latents %d: inpainting and variance-predicting models are not supported", at, p.unet.InChannels, p.unet.OutChannels, p.vae.LatentChannels)
	case p.vae.OutChannels != 3:
		return fmt.Errorf("open the pipeline in %s: the vae makes %d channels, want 3", at, p.vae.OutChannels)
	}
	return nil
}

// Text is the pipeline's text encoder.
func (p *Pipeline) Text() *encode.Text { return p.text }

// UNet is the UNet's config.
func (p *Pipeline) UNet() unet.Config { return p.unet }

// SetUNet makes the pipeline sample with other weights of the same UNet: slab is that of another program of the same
// config, such as a training step's ParamSlab, and is read at each picture. It panics when the length differs.
func (p *Pipeline) SetUNet(slab []float32) {
	p.unetSlab = slab
	for _, e := range p.denoisers {
		e.BindParams(slab)
	}
}
