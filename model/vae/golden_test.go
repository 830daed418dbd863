package vae

import (
	"os"
	"testing"

	"yohaku/internal/golden"
	"yohaku/model/internal/nettest"
	"yohaku/model/op"
)

func TestGoldenVAE(t *testing.T) {
	golden.Run(t, "03a_vae_sd", func(t *testing.T, c *golden.Case) { checkFolder(t, c, "model") })
	if os.Getenv("YOHAKU_GOLDEN") == "" {
		return // The next one is not in the repository's subset.
	}
	golden.Run(t, "03b_vae_force_upcast", func(t *testing.T, c *golden.Case) {
		checkFolder(t, c, "model")
		checkFolder(t, c, "model_legacy_keys")
	})
}

func checkFolder(t *testing.T, c *golden.Case, folder string) {
	t.Run(folder, func(t *testing.T) {
		cfg, err := ReadConfig(os.DirFS(c.Dir), folder)
		if err != nil {
			t.Fatal(err)
		}
		t.Run("parameters", func(t *testing.T) { checkParameters(t, c, folder, cfg) })
		t.Run("encoder", func(t *testing.T) { checkEncoder(t, c, folder, cfg) })
		t.Run("decoder", func(t *testing.T) { checkDecoder(t, c, folder, cfg) })
	})
}

const weightsFile = "diffusion_pytorch_model.safetensors"

// checkParameters: encoder and decoder together have the file's tensors.
func checkParameters(t *testing.T, c *golden.Case, folder string, cfg Config) {
	b := op.NewBuilder()
	side := 4 * cfg.Factor()
	if _, err := BuildEncoder(b, cfg, b.Input("image", 1, side, side, cfg.InChannels)); err != nil {
		t.Fatal(err)
	}
	if _, err := BuildDecoder(b, cfg, b.Input("z", 1, 4, 4, cfg.LatentChannels)); err != nil {
		t.Fatal(err)
	}
	nettest.CheckParams(t, b, c.Tensors(t, folder, weightsFile), Rename)
}

func checkEncoder(t *testing.T, c *golden.Case, folder string, cfg Config) {
	in, out := c.Inputs(t), c.Outputs(t)
	s, m := golden.Shape(t, in, "image"), golden.Shape(t, out, "moments")
	b := op.NewBuilder()
	moments, err := BuildEncoder(b, cfg, b.Input("image", s[0], s[2], s[3], s[1]))
	if err != nil {
		t.Fatal(err)
	}
	p := nettest.Compile(t, b, c.Tensors(t, folder, weightsFile), Rename, []op.Node{moments}, nil)
	nettest.NHWC(p.Input("image"), golden.Float32(t, in, "image"), s[0], s[1], s[2], s[3])
	p.Run()
	got := nettest.NCHW(p.Output(0), m[0], m[1], m[2], m[3])
	c.Near(t, "moments", got, golden.Float32(t, out, "moments"))

	eps, want := golden.Float32(t, in, "eps"), golden.Float32(t, out, "latent")
	latents := make([]float32, len(want))
	n := len(want) / s[0]
	for i := range s[0] {
		if err := cfg.Latents(latents[i*n:(i+1)*n], got[2*i*n:2*(i+1)*n], eps[i*n:(i+1)*n]); err != nil {
			t.Fatal(err)
		}
	}
	c.Near(t, "latent", latents, want)
}

func checkDecoder(t *testing.T, c *golden.Case, folder string, cfg Config) {
	in, out := c.Inputs(t), c.Outputs(t)
	s, d := golden.Shape(t, in, "z"), golden.Shape(t, out, "decoded")
	b := op.NewBuilder()
	image, err := BuildDecoder(b, cfg, b.Input("z", s[0], s[2], s[3], s[1]))
	if err != nil {
		t.Fatal(err)
	}
	p := nettest.Compile(t, b, c.Tensors(t, folder, weightsFile), Rename, []op.Node{image}, nil)
	nettest.NHWC(p.Input("z"), golden.Float32(t, in, "z"), s[0], s[1], s[2], s[3])
	p.Run()
	c.Near(t, "decoded", nettest.NCHW(p.Output(0), d[0], d[1], d[2], d[3]), golden.Float32(t, out, "decoded"))
}
