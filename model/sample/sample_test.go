package sample

import (
	"bytes"
	"context"
	"errors"
	"image"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"yohaku/internal/rng"
	"yohaku/internal/safetensors"
	"yohaku/model/backend/cpu"
	"yohaku/model/checkpoint"
	"yohaku/model/clip"
	"yohaku/model/diffusion"
	"yohaku/model/op"
	"yohaku/model/unet"
	"yohaku/model/vae"
)

// The configs of a tiny pipeline: pictures of 16×16, latents of 8×8.
var configs = map[string]string{
	"unet": `{"block_out_channels":[8,16],"norm_num_groups":4,"attention_head_dim":2,"cross_attention_dim":12,"layers_per_block":1,"sample_size":8,
		"down_block_types":["CrossAttnDownBlock2D","DownBlock2D"],"up_block_types":["UpBlock2D","CrossAttnUpBlock2D"]}`,
	"vae": `{"block_out_channels":[8,8],"norm_num_groups":4,"down_block_types":["DownEncoderBlock2D","DownEncoderBlock2D"],
		"up_block_types":["UpDecoderBlock2D","UpDecoderBlock2D"]}`,
	"text_encoder": `{"vocab_size":964,"hidden_size":12,"intermediate_size":24,"num_hidden_layers":1,"num_attention_heads":2,"eos_token_id":963}`,
	"scheduler":    `{"_class_name":"DDIMScheduler","beta_schedule":"scaled_linear","beta_start":0.00085,"beta_end":0.012,"clip_sample":false,"steps_offset":1}`,
}

// tinyPipeline writes a pipeline folder with random weights.
func tinyPipeline(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for part, text := range configs {
		name := "config.json"
		if part == "scheduler" {
			name = "scheduler_config.json"
		}
		write(t, filepath.Join(dir, part, name), text)
	}
	if err := os.CopyFS(filepath.Join(dir, "tokenizer"), os.DirFS("../../testdata/golden/05_clip_tokenizer/tokenizer")); err != nil {
		t.Fatal(err)
	}
	writeWeights(t, filepath.Join(dir, "unet", "diffusion_pytorch_model.safetensors"), func(b *op.Builder) error {
		c, err := unet.ParseConfig([]byte(configs["unet"]))
		if err != nil {
			return err
		}
		_, err = unet.Build(b, c, unet.Inputs{Sample: b.Input("x", 1, 8, 8, 4), Timesteps: b.Input("t", 1), Context: b.Input("c", 1, 77, 12)})
		return err
	})
	writeWeights(t, filepath.Join(dir, "vae", "diffusion_pytorch_model.safetensors"), func(b *op.Builder) error {
		c, err := vae.ParseConfig([]byte(configs["vae"]))
		if err != nil {
			return err
		}
		_, err = vae.BuildDecoder(b, c, b.Input("z", 1, 8, 8, 4))
		return err
	})
	writeWeights(t, filepath.Join(dir, "text_encoder", "model.safetensors"), func(b *op.Builder) error {
		c, err := clip.ParseConfig([]byte(configs["text_encoder"]))
		if err != nil {
			return err
		}
		_, err = clip.BuildText(b, c, clip.Inputs{IDs: b.Input("ids", 1, 77)})
		return err
	})
	return dir
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// writeWeights writes random weights for the network that build makes.
func writeWeights(t *testing.T, path string, build func(*op.Builder) error) {
	t.Helper()
	b := op.NewBuilder()
	if err := build(b); err != nil {
		t.Fatal(err)
	}
	var params []checkpoint.Param
	for i, p := range b.Params() {
		x := make([]float32, p.Shape().TotalSize())
		rng.New(rng.Key{Seed: 5, Domain: rng.Noise, Item: uint64(i)}).FillNormal(x)
		for j := range x {
			x[j] *= 0.2
		}
		params = append(params, checkpoint.Param{Name: p.Name(), Shape: p.Shape(), Data: x})
	}
	if err := checkpoint.SaveWeights(path, params, safetensors.F32); err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T, dir string, threads int) *Pipeline {
	t.Helper()
	f, err := checkpoint.OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	be := cpu.New(threads)
	t.Cleanup(be.Close)
	p, err := Open(f, be)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func generate(t *testing.T, p *Pipeline, o Options, requests ...Request) []*image.NRGBA {
	t.Helper()
	images, err := p.Generate(t.Context(), requests, o)
	if err != nil {
		t.Fatal(err)
	}
	if len(images) != len(requests) {
		t.Fatalf("%d pictures for %d requests", len(images), len(requests))
	}
	return images
}

// TestCompanyChangesNoPicture: a picture is the same alone, in any batch, and on any number of threads.
func TestCompanyChangesNoPicture(t *testing.T) {
	dir := tinyPipeline(t)
	requests := []Request{{Prompt: "a fox", Seed: 1}, {Prompt: "a cat", Seed: 2, Negative: "rain"}, {Prompt: "a fox", Seed: 3}, {Prompt: "", Seed: 1}, {Prompt: "a dog", Seed: 1}}
	o := Options{Steps: 3, Guidance: 4, Batch: 2, Eta: 0.5}
	both := open(t, dir, 2)
	p := open(t, dir, 1)
	for _, o.Scheduler = range []string{"", "EulerAncestralDiscreteScheduler", "DPMSolverMultistepScheduler"} {
		checkCompany(t, both, p, o, requests)
	}
}

// checkCompany makes the requests together with one pipeline and alone with the other, of the same model.
func checkCompany(t *testing.T, both, p *Pipeline, o Options, requests []Request) {
	t.Helper()
	together := generate(t, both, o, requests...)
	for i, q := range requests {
		o.Batch = i % 3
		if alone := generate(t, p, o, q)[0]; !bytes.Equal(alone.Pix, together[i].Pix) {
			t.Errorf("picture %d of %q with seed %d differs alone (scheduler %q)", i, q.Prompt, q.Seed, o.Scheduler)
		}
	}
	for i := range requests {
		for j := range i {
			if bytes.Equal(together[i].Pix, together[j].Pix) {
				t.Errorf("pictures %d and %d are equal", i, j)
			}
		}
	}
	if b := together[0].Bounds(); b.Dx() != 16 || b.Dy() != 16 {
		t.Errorf("picture of %v, want the trained size 16×16", b)
	}
}

func TestOptions(t *testing.T) {
	p := open(t, tinyPipeline(t), 1)
	q := Request{Prompt: "a fox", Seed: 1}
	base := generate(t, p, Options{Steps: 2, Guidance: 3}, q)[0]
	t.Run("negative prompt", func(t *testing.T) {
		negative := Request{Prompt: "a fox", Seed: 1, Negative: "blue"}
		if bytes.Equal(generate(t, p, Options{Steps: 2, Guidance: 3}, negative)[0].Pix, base.Pix) {
			t.Error("it changes nothing with guidance")
		}
		without := generate(t, p, Options{Steps: 2, Guidance: 1}, q)[0]
		if !bytes.Equal(generate(t, p, Options{Steps: 2, Guidance: 1}, negative)[0].Pix, without.Pix) {
			t.Error("it changes the picture without guidance")
		}
	})
	t.Run("size", func(t *testing.T) {
		if b := generate(t, p, Options{Steps: 1, Height: 24, Width: 32}, q)[0].Bounds(); b.Dx() != 32 || b.Dy() != 24 {
			t.Errorf("got %v, want 32×24", b)
		}
	})
	t.Run("given latents", func(t *testing.T) {
		given := Request{Prompt: "a fox", Seed: 99, Latents: noise(1, 0, 4*8*8)}
		if !bytes.Equal(generate(t, p, Options{Steps: 2, Guidance: 3}, given)[0].Pix, base.Pix) {
			t.Error("the seed's own latents give another picture")
		}
	})
	t.Run("scheduler", func(t *testing.T) {
		for _, class := range diffusion.SamplerClasses() {
			same := bytes.Equal(generate(t, p, Options{Steps: 4, Guidance: 3, Scheduler: class}, q)[0].Pix, generate(t, p, Options{Steps: 4, Guidance: 3}, q)[0].Pix)
			if same != (class == "DDIMScheduler") {
				t.Errorf("%s gives DDIM's picture: %v", class, same)
			}
		}
	})
	t.Run("other weights", func(t *testing.T) {
		other := slices.Clone(p.unetSlab)
		for i := range other {
			other[i] *= 0.5
		}
		old := p.unetSlab
		p.SetUNet(other)
		if bytes.Equal(generate(t, p, Options{Steps: 2, Guidance: 3}, q)[0].Pix, base.Pix) {
			t.Error("the picture is the same")
		}
		p.SetUNet(old)
		if !bytes.Equal(generate(t, p, Options{Steps: 2, Guidance: 3}, q)[0].Pix, base.Pix) {
			t.Error("the old weights give another picture")
		}
	})
}

func TestProgressAndStop(t *testing.T) {
	p := open(t, tinyPipeline(t), 1)
	var got []int
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("enough")
	_, err := p.Generate(ctx, make([]Request, 3), Options{Steps: 2, Batch: 2, Progress: func(done, total int) {
		if total != 4 {
			t.Errorf("total %d, want 4", total)
		}
		got = append(got, done)
		if done == 3 {
			cancel(stop)
		}
	}})
	if !errors.Is(err, stop) || !slices.Equal(got, []int{1, 2, 3}) {
		t.Errorf("got %v after steps %v, want %v after 1 2 3", err, got, stop)
	}
}

func TestGenerateRefuses(t *testing.T) {
	dir := tinyPipeline(t)
	write(t, filepath.Join(dir, "scheduler", "scheduler_config.json"), strings.Replace(configs["scheduler"], "DDIMScheduler", "HeunDiscreteScheduler", 1))
	p := open(t, dir, 1)
	for _, tt := range []struct {
		name    string
		request Request
		options Options
		want    string
	}{
		{"scheduler of the folder", Request{}, Options{}, "HeunDiscreteScheduler"},
		{"scheduler", Request{}, Options{Scheduler: "X"}, `"X"`},
		{"size", Request{}, Options{Scheduler: "DDIMScheduler", Height: 18}, "multiples of 4"},
		{"huge", Request{}, Options{Scheduler: "DDIMScheduler", Height: 1 << 40, Width: 1 << 40}, "at most"},
		{"batch", Request{}, Options{Scheduler: "DDIMScheduler", Batch: -1}, "at least 1, got -1"},
		{"steps", Request{}, Options{Scheduler: "DDIMScheduler", Steps: -1}, "got -1"},
		{"latents", Request{Latents: make([]float32, 3)}, Options{Scheduler: "DDIMScheduler", Steps: 1}, "3 latents given"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := p.Generate(t.Context(), []Request{tt.request}, tt.options); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func TestNoSampleSize(t *testing.T) {
	dir := tinyPipeline(t)
	write(t, filepath.Join(dir, "unet", "config.json"), strings.Replace(configs["unet"], `"sample_size":8`, `"sample_size":null`, 1))
	p := open(t, dir, 1)
	if _, err := p.Generate(t.Context(), make([]Request, 1), Options{}); err == nil || !strings.Contains(err.Error(), "no sample_size") {
		t.Errorf("got %v, want it to say that there is no sample_size", err)
	}
	generate(t, p, Options{Steps: 1, Height: 16, Width: 8}, Request{})
}

func TestOpenRefuses(t *testing.T) {
	for _, tt := range []struct {
		name   string
		change func(t *testing.T, dir string)
		want   string
	}{
		{"no unet", func(t *testing.T, dir string) { remove(t, dir, "unet", "config.json") }, "unet/config.json"},
		{"no vae", func(t *testing.T, dir string) { remove(t, dir, "vae", "config.json") }, "vae/config.json"},
		{"no scheduler", func(t *testing.T, dir string) { remove(t, dir, "scheduler", "scheduler_config.json") }, "scheduler_config.json"},
		{"no text weights", func(t *testing.T, dir string) { remove(t, dir, "text_encoder", "model.safetensors") }, "text_encoder"},
		{"no vocabulary", func(t *testing.T, dir string) {
			remove(t, dir, "tokenizer", "vocab.json")
			remove(t, dir, "tokenizer", "tokenizer.json")
		}, "tokenizer"},
		{"other text encoder", func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "unet", "config.json"), strings.Replace(configs["unet"], `"cross_attention_dim":12`, `"cross_attention_dim":16`, 1))
		}, "cross_attention_dim is 16, the text encoders' hidden_size together 12"},
		{"other latents", func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "vae", "config.json"), strings.Replace(configs["vae"], `{`, `{"latent_channels":8,`, 1))
		}, "the vae's latents 8"},
		{"small vocabulary", func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, "text_encoder", "config.json"), strings.Replace(configs["text_encoder"], "964", "900", 1))
		}, "964 tokens"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := tinyPipeline(t)
			tt.change(t, dir)
			f, err := checkpoint.OpenFolder(dir)
			if err != nil {
				t.Fatal(err)
			}
			be := cpu.New(1)
			t.Cleanup(be.Close)
			if _, err := Open(f, be); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

func remove(t *testing.T, elem ...string) {
	t.Helper()
	if err := os.Remove(filepath.Join(elem...)); err != nil {
		t.Fatal(err)
	}
}

func TestPictureRoundsAsNumpy(t *testing.T) {
	at := func(v float32) float32 { return v*2/255 - 1 }
	img := picture([]float32{at(10), at(11.4), at(300), -3, at(99.6), float32(math.NaN())}, 1, 2)
	if want := []uint8{10, 11, 255, 255, 0, 100, 0, 255}; !slices.Equal(img.Pix, want) {
		t.Errorf("got %v, want %v", img.Pix, want)
	}
}
