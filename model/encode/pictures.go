package encode

import (
	"fmt"

	"yohaku/model/backend"
	"yohaku/model/checkpoint"
	"yohaku/model/compile"
	"yohaku/model/layer"
	"yohaku/model/op"
	"yohaku/model/vae"
	"yohaku/model/weights"
)

// Pictures encodes pictures of one size. It belongs to one goroutine.
type Pictures struct {
	config        vae.Config
	exe           *compile.Executable
	batch         int
	height, width int // Of the pictures.
}

const inputImage = "input.image"

// OpenPictures reads the AutoencoderKL in f and compiles its encoder for batches of pictures of height × width pixels,
// multiples of the autoencoder's factor.
func OpenPictures(f *checkpoint.Folder, be backend.Backend, batch, height, width int) (*Pictures, error) {
	c, err := vae.ReadConfig(f.FS(), ".")
	if err != nil {
		return nil, fmt.Errorf("open the autoencoder in %s: %w", f.Path(), err)
	}
	if batch < 1 || height < 1 || width < 1 {
		return nil, fmt.Errorf("encode pictures of %d×%d in batches of %d: all must be at least 1", height, width, batch)
	}
	b := op.NewBuilder()
	moments, err := vae.BuildEncoder(b, c, b.Input(inputImage, batch, height, width, c.InChannels))
	if err != nil {
		return nil, fmt.Errorf("open the autoencoder in %s: %w", f.Path(), err)
	}
	exe, err := compile.Compile(b, be, []op.Node{moments}, nil, compile.Options{})
	if err != nil {
		return nil, fmt.Errorf("compile the encoder: %w", err)
	}
	if err := weights.Load(exe, f, checkpoint.LoadOptions{Rename: vae.Rename, Partial: true}); err != nil {
		return nil, fmt.Errorf("open the autoencoder in %s: %w", f.Path(), err)
	}
	return &Pictures{config: c, exe: exe, batch: batch, height: height, width: width}, nil
}

// Config is the autoencoder's config, whose Latents draws from the moments.
func (p *Pictures) Config() vae.Config { return p.config }

// LatentShape is the shape of a latent: channels, height and width.
func (p *Pictures) LatentShape() (channels, height, width int) {
	f := p.config.Factor()
	return p.config.LatentChannels, p.height / f, p.width / f
}

// Encode returns the moments of each picture, [2C,h,w]: C channels of means, then C of log variances, not clamped.
// A picture is [3,height,width] in [−1, 1]. It returns an error when one has another length.
func (p *Pictures) Encode(pixels [][]float32) ([][]float32, error) {
	moments := make([][]float32, 0, len(pixels))
	for start := 0; start < len(pixels); start += p.batch {
		part := pixels[start:min(start+p.batch, len(pixels))]
		if err := p.fill(start, part); err != nil {
			return nil, err
		}
		if err := p.exe.Run(nil); err != nil {
			return nil, fmt.Errorf("encode pictures: %w", err)
		}
		out := p.exe.Output(0)
		n := len(out) / p.batch
		for i := range part {
			m := make([]float32, n)
			layer.ToCHW(m, out[i*n:(i+1)*n], 2*p.config.LatentChannels)
			moments = append(moments, m)
		}
	}
	return moments, nil
}

// fill writes a batch; rows without a picture keep what they had, and their results are dropped.
func (p *Pictures) fill(start int, part [][]float32) error {
	n := p.config.InChannels * p.height * p.width
	for i, x := range part {
		if len(x) != n {
			return fmt.Errorf("encode picture %d: %d elements, want %d×%d×%d", start+i, len(x), p.config.InChannels, p.height, p.width)
		}
		layer.ToHWC(p.exe.Input(inputImage)[i*n:(i+1)*n], x, p.config.InChannels)
	}
	return nil
}
