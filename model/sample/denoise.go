package sample

import (
	"context"
	"image"
	"math"

	"yohaku/model/compile"
	"yohaku/model/encode"
)

// denoise walks x [B,h,w,C] from noise to latents. With guidance the network sees the batch twice, without and with the
// prompt: e = e₀ + guidance·(e₁ − e₀).
func (r *run) denoise(ctx context.Context, x []float32) error {
	s, rows := r.latentShape(), 1
	if r.guided() {
		rows = 2
	}
	exe, err := r.pipeline.denoiser(shape{batch: rows * s.batch, height: s.height, width: s.width})
	if err != nil {
		return err
	}
	if err := r.fillContext(exe); err != nil {
		return err
	}
	input, prediction, walk := exe.Input(inputSample), make([]float32, len(x)), r.sampler.Start()
	for i, t := range r.sampler.Timesteps() {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		for row := range rows {
			r.sampler.ScaleModelInput(input[row*len(x):(row+1)*len(x)], x, i)
		}
		fillTimesteps(exe, t)
		if err := exe.Run(nil); err != nil {
			return err
		}
		r.guide(prediction, exe.Output(0))
		walk.Step(i, prediction, x, r.stepNoise(i, len(x)/s.batch))
		r.done++
		if r.options.Progress != nil {
			r.options.Progress(r.done, r.total)
		}
	}
	return nil
}

func fillTimesteps(exe *compile.Executable, t float32) {
	in := exe.Input(inputTimesteps)
	for i := range in {
		in[i] = t
	}
}

// fillContext writes the embeddings: all negatives first when guided, then all prompts; and SDXL's size conditioning,
// the picture's size with no crop.
func (r *run) fillContext(exe *compile.Executable) error {
	p := r.pipeline
	var texts []string
	if r.guided() {
		for _, q := range r.requests {
			texts = append(texts, q.Negative)
		}
	}
	negatives := len(texts)
	for _, q := range r.requests {
		texts = append(texts, q.Prompt)
	}
	embeds, err := p.encode(texts)
	if err != nil {
		return err
	}
	for i, e := range embeds {
		zero := p.zeros && i < negatives && texts[i] == ""
		fillRow(exe.Input(inputContext), i, e.Tokens, zero)
		if p.unet.HasTextTime() {
			fillRow(exe.Input(inputPooled), i, e.Pooled, zero)
			h, w := float32(r.options.Height), float32(r.options.Width)
			fillRow(exe.Input(inputTimeIDs), i, []float32{h, w, 0, 0, h, w}, false)
		}
	}
	return nil
}

// fillRow writes row i of in, values or zeros.
func fillRow(in []float32, i int, values []float32, zero bool) {
	row := in[i*len(values):][:len(values)]
	copy(row, values)
	if zero {
		clear(row)
	}
}

// maxEmbeds bounds the embeddings kept from one call to the next.
const maxEmbeds = 256

// encode returns the texts' embeddings, from memory where it has them.
func (p *Pipeline) encode(texts []string) ([]encode.Embedding, error) {
	if len(p.embeds) > maxEmbeds {
		clear(p.embeds)
	}
	var missing []string
	for _, t := range texts {
		if _, ok := p.embeds[t]; !ok {
			p.embeds[t] = encode.Embedding{}
			missing = append(missing, t)
		}
	}
	if err := p.adapt(); err != nil {
		clear(p.embeds)
		return nil, err
	}
	made, err := p.text.Encode(missing)
	if err != nil {
		clear(p.embeds)
		return nil, err
	}
	for i, t := range missing {
		p.embeds[t] = made[i]
	}
	embeds := make([]encode.Embedding, len(texts))
	for i, t := range texts {
		embeds[i] = p.embeds[t]
	}
	return embeds, nil
}

// guide combines the network's predictions into one for each picture.
func (r *run) guide(dst, out []float32) {
	if !r.guided() {
		copy(dst, out)
		return
	}
	scale, without, with := float32(r.options.Guidance), out[:len(dst)], out[len(dst):]
	for i := range dst {
		dst[i] = without[i] + float32(scale*(with[i]-without[i]))
	}
}

// decode turns latents x [B,h,w,C] into pictures; x is changed.
func (r *run) decode(x []float32) ([]*image.NRGBA, error) {
	out, err := r.pixels(x)
	if err != nil {
		return nil, err
	}
	n := len(out) / len(r.requests)
	images := make([]*image.NRGBA, len(r.requests))
	for i := range images {
		images[i] = picture(out[i*n:(i+1)*n], r.options.Height, r.options.Width)
	}
	return images, nil
}

// pixels decodes latents x [B,h,w,C] to [B,height,width,3] about [−1, 1], valid until the decoder's next run; x is
// changed.
func (r *run) pixels(x []float32) ([]float32, error) {
	exe, err := r.pipeline.decoder(r.latentShape())
	if err != nil {
		return nil, err
	}
	r.pipeline.vae.Unscale(x)
	copy(exe.Input(inputLatents), x)
	if err := exe.Run(nil); err != nil {
		return nil, err
	}
	return exe.Output(0), nil
}

// picture converts x [height,width,3] in [−1, 1] to 8 bits: round(255·clamp(x/2 + 1/2)), halves to even, as diffusers
// and numpy do. NaN, of a model that broke, is black.
func picture(x []float32, height, width int) *image.NRGBA {
	img := image.NewNRGBA(image.Rect(0, 0, width, height))
	for p := range height * width {
		for c := range 3 {
			v := min(max(float32(x[3*p+c]*0.5)+0.5, 0), 1)
			if v != v {
				v = 0 // Converting NaN differs between processors.
			}
			img.Pix[4*p+c] = uint8(math.RoundToEven(float64(v * 255)))
		}
		img.Pix[4*p+3] = 255
	}
	return img
}
