package sample

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"

	"yohaku/internal/golden"
	"yohaku/model/diffusion"
	"yohaku/model/encode"
	"yohaku/model/layer"
)

// goldenArgs are the arguments of the pipeline cases.
type goldenArgs struct {
	Prompts       []string                              `json:"prompts"`
	Steps         int                                   `json:"steps"`
	GuidanceScale float64                               `json:"guidance_scale"`
	Height        int                                   `json:"height"`
	Width         int                                   `json:"width"`
	Schedulers    map[string]map[string]json.RawMessage `json:"schedulers"`
}

// TestGoldenPipeline: prompts and latents become the latents and pictures of diffusers' StableDiffusionPipeline.
func TestGoldenPipeline(t *testing.T) {
	if os.Getenv("YOHAKU_GOLDEN") == "" {
		return // Not in the repository's subset.
	}
	golden.Run(t, "09a_pipeline_sd", func(t *testing.T, c *golden.Case) {
		var a goldenArgs
		c.Args(t, &a)
		for _, run := range []struct{ key, scheduler, class, negative string }{
			{"pndm", "pndm", "PNDMScheduler", ""},
			{"pndm_neg", "pndm", "PNDMScheduler", "blurry, low quality"},
			{"ddim", "ddim", "DDIMScheduler", ""},
			{"dpmpp_2m_karras", "dpmpp_2m_karras", "DPMSolverMultistepScheduler", ""},
		} {
			t.Run(run.key, func(t *testing.T) {
				p := open(t, c.Path("pipeline"), 2)
				if p.scheduler.Class != run.class { // The folder has one scheduler.
					p.scheduler = scheduler(t, run.class, a.Schedulers[run.scheduler])
				}
				goldenPictures(t, c, a, p, run.key, run.negative)
			})
		}
	})
}

// TestGoldenPipelineXL is TestGoldenPipeline for StableDiffusionXLPipeline, and holds its embeddings to the case's.
func TestGoldenPipelineXL(t *testing.T) {
	if os.Getenv("YOHAKU_GOLDEN") == "" {
		return // Not in the repository's subset.
	}
	golden.Run(t, "09b_pipeline_sdxl", func(t *testing.T, c *golden.Case) {
		var a goldenArgs
		c.Args(t, &a)
		p := open(t, c.Path("pipeline"), 2)
		embeds, err := p.text.Encode(a.Prompts)
		if err != nil {
			t.Fatal(err)
		}
		for name, part := range map[string]func(encode.Embedding) []float32{
			"prompt_embeds":        func(e encode.Embedding) []float32 { return e.Tokens },
			"pooled_prompt_embeds": func(e encode.Embedding) []float32 { return e.Pooled },
		} {
			got := append(slices.Clone(part(embeds[0])), part(embeds[1])...)
			if worst, at := golden.MaxDifference(t, got, golden.Float32(t, c.Outputs(t), name)); worst > 1e-4 { // The case has no tolerance for them.
				t.Errorf("%s[%d]: off by %g", name, at, worst)
			}
		}
		for key, negative := range map[string]string{"euler": "", "euler_neg": "blurry, low quality"} {
			t.Run(key, func(t *testing.T) { goldenPictures(t, c, a, p, key, negative) })
		}
	})
}

// scheduler parses a scheduler's arguments.
func scheduler(t *testing.T, class string, args map[string]json.RawMessage) diffusion.Config {
	t.Helper()
	delete(args, "lambda_min_clipped") // Its default, which case.json cannot hold as a number.
	args["_class_name"] = json.RawMessage(`"` + class + `"`)
	data, err := json.Marshal(args)
	if err != nil {
		t.Fatal(err)
	}
	config, err := diffusion.ParseConfig(data)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// goldenPictures makes the case's pictures in one batch and compares latents, decoded pixels and 8-bit pictures.
func goldenPictures(t *testing.T, c *golden.Case, a goldenArgs, p *Pipeline, key, negative string) {
	given := golden.Float32(t, c.Inputs(t), "latents")
	outputs, n := c.Outputs(t), len(given)/len(a.Prompts)
	var requests []Request
	for i, prompt := range a.Prompts {
		requests = append(requests, Request{Prompt: prompt, Negative: negative, Latents: given[i*n : (i+1)*n]})
	}
	o := Options{Steps: a.Steps, Guidance: a.GuidanceScale, Height: a.Height, Width: a.Width}
	images := generate(t, p, o, requests...)

	sampler, err := diffusion.NewSampler(p.scheduler, a.Steps, diffusion.SamplerOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r := run{pipeline: p, options: o, sampler: sampler, requests: requests}
	x, err := r.start()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.denoise(t.Context(), x); err != nil {
		t.Fatal(err)
	}
	latents := make([]float32, len(x))
	for i := range requests {
		layer.ToCHW(latents[i*n:(i+1)*n], x[i*n:(i+1)*n], p.unet.InChannels)
	}
	c.Near(t, key+".latents", latents, golden.Float32(t, outputs, key+".latents"))

	pixels, err := r.pixels(x)
	if err != nil {
		t.Fatal(err)
	}
	pixels = slices.Clone(pixels)
	for i, v := range pixels {
		pixels[i] = min(max(v/2+0.5, 0), 1)
	}
	want := golden.Float32(t, outputs, key+".image")
	c.Near(t, key+".image", pixels, want)
	for i, img := range images {
		for j, v := range want[i*len(want)/len(images) : (i+1)*len(want)/len(images)] {
			if got := float64(img.Pix[j/3*4+j%3]); math.Abs(got-255*float64(v)) > 0.5+255*c.MaxAbs(t, key+".image") {
				t.Fatalf("picture %d, value %d is %v, want %v", i, j, got, 255*v)
			}
		}
	}
}
