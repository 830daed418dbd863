package sample

import (
	"context"
	"fmt"
	"image"

	"yohaku/internal/rng"
	"yohaku/model/diffusion"
	"yohaku/model/layer"
)

// Request is one picture to make.
type Request struct {
	Prompt   string
	Negative string // What to keep out; only with guidance above 1.
	Seed     uint64
	Latents  []float32 // [C,h,w] of unit variance to start from; nil draws them from Seed.
}

// Options are the same for all pictures of a call.
type Options struct {
	Steps         int                   // Of the sampler; 0 is 50.
	Guidance      float64               // Classifier-free guidance scale; at most 1 is none.
	Height, Width int                   // Pixels; 0 is what the model was trained at.
	Batch         int                   // Pictures at a time; 0 is 4. It changes no picture.
	Eta           float64               // DDIM's η.
	Scheduler     string                // Class to sample with instead of the folder's, such as "DDIMScheduler"; "" is the folder's.
	Progress      func(done, total int) // Called after each denoising step of each batch; may be nil.
}

// DefaultSteps is diffusers' default.
const DefaultSteps = 50

// The default batch has no more pictures than maxBatch, and no more pixels of latents than batchPixels: four pictures
// of 512×512 with Stable Diffusion 1.
const (
	maxBatch    = 16
	batchPixels = 4 * 64 * 64
)

// maxSide bounds a picture's sides, in pixels.
const maxSide = 1 << 13

// Generate makes a picture for each request, in order. It stops with ctx's cause between steps.
func (p *Pipeline) Generate(ctx context.Context, requests []Request, o Options) ([]*image.NRGBA, error) {
	o, err := p.withDefaults(o)
	if err != nil {
		return nil, err
	}
	scheduler := p.scheduler
	if o.Scheduler != "" {
		scheduler.Class = o.Scheduler
	}
	sampler, err := diffusion.NewSampler(scheduler, o.Steps, diffusion.SamplerOptions{Eta: o.Eta})
	if err != nil {
		return nil, fmt.Errorf("sample with the scheduler of %s: %w", p.folder.Path(), err)
	}
	batches := (len(requests) + o.Batch - 1) / o.Batch
	images := make([]*image.NRGBA, 0, len(requests))
	for b := range batches {
		part := requests[b*o.Batch : min((b+1)*o.Batch, len(requests))]
		r := run{pipeline: p, options: o, sampler: sampler, requests: part, done: b * len(sampler.Timesteps()), total: batches * len(sampler.Timesteps())}
		made, err := r.generate(ctx)
		if err != nil {
			return nil, err
		}
		images = append(images, made...)
	}
	return images, nil
}

// withDefaults fills in what is 0 and refuses what cannot be.
func (p *Pipeline) withDefaults(o Options) (Options, error) {
	f := p.vae.Factor()
	if o.Steps == 0 {
		o.Steps = DefaultSteps
	}
	if o.Height == 0 {
		o.Height = p.unet.SampleSize.Height * f
	}
	if o.Width == 0 {
		o.Width = p.unet.SampleSize.Width * f
	}
	if o.Batch == 0 {
		o.Batch = max(1, min(maxBatch, batchPixels*f*f/max(1, o.Height*o.Width)))
	}
	multiple := f * p.unet.Factor()
	switch {
	case o.Height == 0 || o.Width == 0:
		return o, fmt.Errorf("the unet's config in %s has no sample_size: give height and width", p.folder.Path())
	case o.Batch < 1:
		return o, fmt.Errorf("pictures at a time must be at least 1, got %d", o.Batch)
	case o.Height < 1 || o.Width < 1 || o.Height > maxSide || o.Width > maxSide || o.Height%multiple != 0 || o.Width%multiple != 0:
		return o, fmt.Errorf("picture size must be multiples of %d, at most %d, got %d×%d (width × height)", multiple, maxSide, o.Width, o.Height)
	}
	return o, nil
}

// run is the sampling of one batch.
type run struct {
	pipeline    *Pipeline
	options     Options
	sampler     diffusion.Sampler
	requests    []Request
	done, total int // Steps, for progress.
}

func (r *run) guided() bool { return r.options.Guidance > 1 }

// latentShape is the batch's latents.
func (r *run) latentShape() shape {
	f := r.pipeline.vae.Factor()
	return shape{batch: len(r.requests), height: r.options.Height / f, width: r.options.Width / f}
}

func (r *run) generate(ctx context.Context) ([]*image.NRGBA, error) {
	x, err := r.start()
	if err != nil {
		return nil, err
	}
	if err := r.denoise(ctx, x); err != nil {
		return nil, err
	}
	return r.decode(x)
}

// start returns the latents to begin with, [B,h,w,C]: unit normal times the sampler's initial deviation.
func (r *run) start() ([]float32, error) {
	s, channels := r.latentShape(), r.pipeline.unet.InChannels
	n := s.height * s.width * channels
	x := make([]float32, s.batch*n)
	sigma := float32(r.sampler.InitNoiseSigma())
	for i, q := range r.requests {
		latents := q.Latents
		if latents == nil {
			latents = noise(q.Seed, 0, n)
		}
		if len(latents) != n {
			return nil, fmt.Errorf("picture %d: %d latents given, want %d×%d×%d", i, len(latents), channels, s.height, s.width)
		}
		row := x[i*n : (i+1)*n]
		layer.ToHWC(row, latents, channels)
		for j := range row {
			row[j] *= sigma
		}
	}
	return x, nil
}

// noise draws n normals for a picture: step 0 is what it starts from, step i+1 what the sampler's step i adds.
func noise(seed uint64, step, n int) []float32 {
	x := make([]float32, n)
	rng.New(rng.Key{Seed: seed, Domain: rng.Sample, Step: uint64(step)}).FillNormal(x)
	return x
}

// stepNoise is the fresh noise of step i, [B,h,w,C]; nil when the sampler wants none.
func (r *run) stepNoise(i, n int) []float32 {
	if !r.sampler.NeedsNoise(i) {
		return nil
	}
	x := make([]float32, len(r.requests)*n)
	for j, q := range r.requests {
		layer.ToHWC(x[j*n:(j+1)*n], noise(q.Seed, i+1, n), r.pipeline.unet.InChannels)
	}
	return x
}
