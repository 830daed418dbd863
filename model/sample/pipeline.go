// Package sample makes pictures from prompts with the folder of a StableDiffusionPipeline or a
// StableDiffusionXLPipeline: text encoders, denoising loop with classifier-free guidance, decoder.
//
// A picture depends on its prompt, seed and options only, never on the other pictures of its batch or on threads: noise
// is keyed by (seed, step). Source: diffusers 0.42, pipelines/stable_diffusion/pipeline_stable_diffusion.py
// and pipelines/stable_diffusion_xl/pipeline_stable_diffusion_xl.py.
package sample

import (
	"fmt"

	"yohaku/model/backend"
	"yohaku/model/checkpoint"
	"yohaku/model/compile"
	"yohaku/model/diffusion"
	"yohaku/model/encode"
	"yohaku/model/lora"
	"yohaku/model/unet"
	"yohaku/model/vae"
	"yohaku/model/weights"
)

// Pipeline is a model folder that is ready to sample. It belongs to one goroutine.
type Pipeline struct {
	backend   backend.Backend
	folder    *checkpoint.Folder
	network   string // The UNet's folder.
	unet      unet.Config
	vae       vae.Config
	scheduler diffusion.Config
	text      *encode.Text
	embeds    map[string]encode.Embedding // By prompt.
	zeros     bool                        // An empty negative prompt is zeros: force_zeros_for_empty_prompt.
	denoisers map[shape]*compile.Executable
	decoders  map[shape]*compile.Executable
	adapters  []adapter
	read      []lora.Set // Of the adapters; merged into weights when these are read.
	unetSlab  []float32  // The weights that all denoisers share; nil before the first.
	vaeSlab   []float32
}

// shape is a batch of latents.
type shape struct{ batch, height, width int }

// adapter is where a low-rank adapter lies, and how strong it is.
type adapter struct {
	path  string // "" for the pipeline's own folder.
	scale float64
}

// textBatch is how many prompts are encoded at once.
const textBatch = 4

// Open reads the pipeline folder f: model_index.json, text encoders, tokenizers, unet, vae and scheduler, and an adapter
// if one lies beside them; unet_ema in place of unet where training kept a moving average. Weights of the UNet and the decoder are read when the first picture is made.
//
// It returns an error that names the component when a part is missing, or is of a class or has a value that is not
// supported; a scheduler without a sampler is refused by Generate only.
func Open(f *checkpoint.Folder, be backend.Backend) (*Pipeline, error) {
	p := &Pipeline{backend: be, folder: f, embeds: map[string]encode.Embedding{},
		denoisers: map[shape]*compile.Executable{}, decoders: map[shape]*compile.Executable{}}
	var err error
	if p.network = "unet"; f.Has(checkpoint.EMAFolder) {
		p.network = checkpoint.EMAFolder
	}
	if p.unet, err = unet.ReadConfig(f.FS(), p.network); err != nil {
		return nil, fmt.Errorf("open the pipeline in %s: %w", f.Path(), err)
	}
	if p.vae, err = vae.ReadConfig(f.FS(), "vae"); err != nil {
		return nil, fmt.Errorf("open the pipeline in %s: %w", f.Path(), err)
	}
	if p.scheduler, err = diffusion.ReadConfig(f.FS(), "scheduler"); err != nil {
		return nil, fmt.Errorf("open the pipeline in %s: %w", f.Path(), err)
	}
	if p.text, err = encode.OpenText(f, be, textBatch); err != nil {
		return nil, fmt.Errorf("open the pipeline in %s: %w", f.Path(), err)
	}
	if f.Has(lora.FileName) {
		p.adapters = append(p.adapters, adapter{scale: 1})
	}
	if p.zeros, err = forcesZeros(f); err != nil {
		return nil, err
	}
	return p, p.check()
}

// forcesZeros reads force_zeros_for_empty_prompt of the folder's model_index.json. Pipelines of Stable Diffusion 1 and 2
// do not have it.
func forcesZeros(f *checkpoint.Folder) (bool, error) {
	if !f.Has("text_encoder_2") {
		return false, nil
	}
	p, err := f.Pipeline()
	if err != nil {
		return false, err
	}
	return p.ForceZerosForEmptyPrompt, nil
}

// check holds the components to each other.
func (p *Pipeline) check() error {
	at := p.folder.Path()
	switch {
	case p.unet.HasTextTime() && p.unet.PooledDim() != p.text.PooledDim():
		return fmt.Errorf("open the pipeline in %s: the unet takes a pooled embedding of %d, text_encoder_2 has %d (0: there is none): they belong to different models", at, p.unet.PooledDim(), p.text.PooledDim())
	case !p.unet.HasTextTime() && p.text.PooledDim() > 0:
		return fmt.Errorf("open the pipeline in %s: it has a text_encoder_2, but the unet takes no pooled embedding: they belong to different models", at)
	case p.unet.ContextDim() != p.text.Dim():
		return fmt.Errorf("open the pipeline in %s: the unet's cross_attention_dim is %d, the text encoders' hidden_size together %d: they belong to different models", at, p.unet.ContextDim(), p.text.Dim())
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

// Adapt puts the adapter at path, a file or folder of any layout that package lora reads, beside the UNet and the text
// encoders, scaled by scale. It has to be called before the first picture.
func (p *Pipeline) Adapt(path string, scale float64) {
	p.adapters = append(p.adapters, adapter{path, scale})
}

// adapt reads the adapters, once, and merges those of the text encoders.
func (p *Pipeline) adapt() error {
	if len(p.read) == len(p.adapters) {
		return nil
	}
	networks, err := lora.NetworksOf(p.folder)
	if err != nil {
		return err
	}
	for _, a := range p.adapters[len(p.read):] {
		var set lora.Set
		if a.path == "" {
			set, err = lora.ReadFolder(p.folder, networks)
		} else {
			set, err = lora.ReadPath(a.path, networks)
		}
		if err != nil {
			return err
		}
		if err := p.text.Merge(set, a.scale); err != nil {
			return err
		}
		p.read = append(p.read, set)
	}
	return nil
}

// merge adds the adapters to the UNet's weights.
func (p *Pipeline) merge(e *compile.Executable) error {
	if err := p.adapt(); err != nil {
		return err
	}
	for i, set := range p.read {
		if err := set[lora.UNet].Merge(weights.Params(e.Params(), e.ParamSlab()), p.adapters[i].scale); err != nil {
			return err
		}
	}
	return nil
}

// SetUNet makes the pipeline sample with other weights of the same UNet: slab is that of another program of the same
// config, such as a training step's ParamSlab, and is read at each picture. It panics when the length differs.
func (p *Pipeline) SetUNet(slab []float32) {
	p.unetSlab = slab
	for _, e := range p.denoisers {
		e.BindParams(slab)
	}
}
