package encode

import (
	"slices"
	"testing"

	"yohaku/internal/golden"
	"yohaku/model/backend/cpu"
	"yohaku/model/checkpoint"
)

// TestGoldenPictures: the moments are diffusers', and have the same bits in batches of one, of two, and of three with
// one picture too few.
func TestGoldenPictures(t *testing.T) {
	golden.Run(t, "03a_vae_sd", func(t *testing.T, c *golden.Case) {
		in := c.Inputs(t)
		shape, image := golden.Shape(t, in, "image"), golden.Float32(t, in, "image")
		n := len(image) / shape[0]
		var pixels [][]float32
		for i := range shape[0] {
			pixels = append(pixels, image[i*n:(i+1)*n])
		}
		f, err := checkpoint.OpenFolder(c.Path("model"))
		if err != nil {
			t.Fatal(err)
		}
		be := cpu.New(2)
		t.Cleanup(be.Close)
		var first []float32
		for _, batch := range []int{1, 2, 3} {
			p, err := OpenPictures(f, be, batch, shape[2], shape[3])
			if err != nil {
				t.Fatal(err)
			}
			moments, err := p.Encode(pixels)
			if err != nil {
				t.Fatal(err)
			}
			got := slices.Concat(moments...)
			if first == nil {
				first = got
			}
			if !slices.Equal(got, first) {
				t.Errorf("batches of %d change bits", batch)
			}
			if channels, h, w := p.LatentShape(); len(got) != shape[0]*2*channels*h*w {
				t.Errorf("%d moments for latents of %d×%d×%d", len(got), channels, h, w)
			}
		}
		c.Near(t, "moments", first, golden.Float32(t, c.Outputs(t), "moments"))
	})
}

func TestGoldenOpenPicturesRefuses(t *testing.T) {
	golden.Run(t, "03a_vae_sd", func(t *testing.T, c *golden.Case) {
		f, err := checkpoint.OpenFolder(c.Path("model"))
		if err != nil {
			t.Fatal(err)
		}
		be := cpu.New(1)
		t.Cleanup(be.Close)
		for _, size := range [][3]int{{0, 32, 32}, {1, 33, 32}, {1, 32, 0}} {
			if _, err := OpenPictures(f, be, size[0], size[1], size[2]); err == nil {
				t.Errorf("batch %d of %d×%d passed", size[0], size[1], size[2])
			}
		}
		p, err := OpenPictures(f, be, 1, 32, 32)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Encode([][]float32{make([]float32, 7)}); err == nil {
			t.Error("a picture of 7 elements passed")
		}
	})
}

// TestGoldenPrompts: prompts give transformers' last hidden state, the same bits in any batch.
func TestGoldenPrompts(t *testing.T) {
	golden.Run(t, "04a_clip_text_quickgelu", func(t *testing.T, c *golden.Case) {
		var args struct {
			Prompts []string `json:"prompts"`
		}
		c.Args(t, &args)
		model, err := checkpoint.OpenFolder(c.Path("model"))
		if err != nil {
			t.Fatal(err)
		}
		tokens, err := checkpoint.OpenFolder(c.Path("..", "05_clip_tokenizer", "tokenizer"))
		if err != nil {
			t.Fatal(err)
		}
		be := cpu.New(2)
		t.Cleanup(be.Close)
		var first []float32
		for _, batch := range []int{1, 3} {
			e, err := openTextEncoder(model, tokens, be, batch, textUse{})
			if err != nil {
				t.Fatal(err)
			}
			text := &Text{encoders: []*textEncoder{e}}
			embeds, err := text.Encode(args.Prompts)
			if err != nil {
				t.Fatal(err)
			}
			var got []float32
			for _, e := range embeds {
				got = append(got, e.Tokens...)
			}
			if first == nil {
				first = got
			}
			if !slices.Equal(got, first) {
				t.Errorf("batches of %d change bits", batch)
			}
			if len(embeds[0].Tokens) != text.Length()*text.Dim() {
				t.Errorf("%d elements for %d×%d", len(embeds[0].Tokens), text.Length(), text.Dim())
			}
		}
		c.Near(t, "last_hidden_state", first, golden.Float32(t, c.Outputs(t), "last_hidden_state"))
	})
}
