package unet

import (
	"os"
	"strings"
	"testing"

	"yohaku/internal/golden"
	"yohaku/internal/safetensors"
	"yohaku/model/config"
	"yohaku/model/internal/nettest"
	"yohaku/model/op"
)

// graph builds the network of a golden case for its inputs' shapes.
type graph struct {
	b      *op.Builder
	config Config
	inputs Inputs
	pred   op.Node
	shape  []int // Of the sample, NCHW.
}

func build(t *testing.T, c *golden.Case) graph {
	t.Helper()
	cfg, err := ReadConfig(os.DirFS(c.Dir), "model")
	if err != nil {
		t.Fatal(err)
	}
	in := c.Inputs(t)
	s, e := golden.Shape(t, in, "sample"), golden.Shape(t, in, "encoder_hidden_states")
	g := graph{b: op.NewBuilder(), config: cfg, shape: s}
	g.inputs = Inputs{
		Sample: g.b.Input("sample", s[0], s[2], s[3], s[1]), Timesteps: g.b.Input("timesteps", s[0]),
		Context: g.b.Input("context", e...),
	}
	if cfg.HasTextTime() {
		g.inputs.Pooled = g.b.Input("pooled", golden.Shape(t, in, "text_embeds")...)
		g.inputs.TimeIDs = g.b.Input("time_ids", golden.Shape(t, in, "time_ids")...)
	}
	if g.pred, err = Build(g.b, cfg, g.inputs); err != nil {
		t.Fatal(err)
	}
	return g
}

func TestGoldenParameters(t *testing.T) {
	golden.Run(t, "01_unet_sd", checkParameters)
	if os.Getenv("YOHAKU_GOLDEN") != "" { // Not in the repository's subset.
		golden.Run(t, "02_unet_sdxl", checkParameters)
	}
}

func checkParameters(t *testing.T, c *golden.Case) {
	nettest.CheckParams(t, build(t, c).b, weights(t, c), nil)
}

func TestGoldenUNet(t *testing.T) {
	golden.Run(t, "01_unet_sd", checkUNet)
	if os.Getenv("YOHAKU_GOLDEN") != "" { // Not in the repository's subset.
		golden.Run(t, "02_unet_sdxl", checkUNet)
	}
}

func checkUNet(t *testing.T, c *golden.Case) {
	t.Run("forward", func(t *testing.T) { checkForward(t, c) })
	t.Run("gradients", func(t *testing.T) { checkGradients(t, c) })
}

// args are the case's timesteps: a number for all samples, or one for each.
type args struct {
	Timesteps     map[string]config.PerBlock[int] `json:"timesteps"`
	GradTimesteps []int                           `json:"grad_timesteps"`
}

func checkForward(t *testing.T, c *golden.Case) {
	g := build(t, c)
	p := nettest.Compile(t, g.b, weights(t, c), nil, []op.Node{g.pred}, nil)
	fill(t, c, g, p)
	var a args
	c.Args(t, &a)
	if len(a.Timesteps) == 0 {
		t.Fatal("the case has no timesteps")
	}
	for label, steps := range a.Timesteps {
		for i := range g.shape[0] {
			p.Input("timesteps")[i] = float32(steps.At(i))
		}
		p.Run()
		got := nettest.NCHW(p.Output(0), g.shape[0], g.shape[1], g.shape[2], g.shape[3])
		c.Near(t, "sample", got, golden.Float32(t, c.Outputs(t), "sample."+label))
	}
}

// checkGradients compares the gradients of loss = mean((sample − target)²) with respect to all parameters, the sample
// and the context.
func checkGradients(t *testing.T, c *golden.Case) {
	g := build(t, c)
	target := g.b.Input("target", g.inputs.Sample.Shape()...)
	loss := g.b.Apply(op.Mean{}, g.b.Apply(op.MSEPerSample{}, g.pred, target))
	wrt := append(append([]op.Node(nil), g.b.Params()...), g.inputs.Sample, g.inputs.Context)
	grads, err := g.b.Grad(loss, wrt...)
	if err != nil {
		t.Fatal(err)
	}
	p := nettest.Compile(t, g.b, weights(t, c), nil, []op.Node{loss}, grads)
	fill(t, c, g, p)
	var a args
	c.Args(t, &a)
	for i, step := range a.GradTimesteps {
		p.Input("timesteps")[i] = float32(step)
	}
	nettest.NHWC(p.Input("target"), golden.Float32(t, c.Inputs(t), "target"), g.shape[0], g.shape[1], g.shape[2], g.shape[3])
	got := p.Run()
	c.Near(t, "loss", p.Output(0), golden.Float32(t, c.Outputs(t), "loss"))
	got["INPUT.sample"] = nettest.NCHW(got["sample"], g.shape[0], g.shape[1], g.shape[2], g.shape[3])
	got["INPUT.encoder_hidden_states"] = got["context"]
	c.NearSet(t, "grad", got, wanted(t, c, len(wrt)))
}

// wanted are the case's gradients, n of them.
func wanted(t *testing.T, c *golden.Case, n int) map[string][]float32 {
	t.Helper()
	want := map[string][]float32{}
	for _, info := range c.Outputs(t).Infos() {
		if name, ok := strings.CutPrefix(info.Name, "grad."); ok {
			want[name] = golden.Float32(t, c.Outputs(t), info.Name)
		}
	}
	if len(want) != n {
		t.Errorf("the case has %d gradients, the network %d", len(want), n)
	}
	return want
}

func weights(t *testing.T, c *golden.Case) *safetensors.File {
	return c.Tensors(t, "model", "diffusion_pytorch_model.safetensors")
}

// fill writes the case's inputs, all but the timesteps.
func fill(t *testing.T, c *golden.Case, g graph, p nettest.Program) {
	t.Helper()
	in := c.Inputs(t)
	nettest.NHWC(p.Input("sample"), golden.Float32(t, in, "sample"), g.shape[0], g.shape[1], g.shape[2], g.shape[3])
	copy(p.Input("context"), golden.Float32(t, in, "encoder_hidden_states"))
	if g.config.HasTextTime() {
		copy(p.Input("pooled"), golden.Float32(t, in, "text_embeds"))
		copy(p.Input("time_ids"), golden.Float32(t, in, "time_ids"))
	}
}
