package train

import (
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"yohaku/internal/golden"
	"yohaku/internal/safetensors"
	"yohaku/model/backend/cpu"
	"yohaku/model/compile"
	"yohaku/model/diffusion"
	"yohaku/model/internal/nettest"
	"yohaku/model/layer"
	"yohaku/model/lora"
	"yohaku/model/objective"
	"yohaku/model/op"
	"yohaku/model/unet"
	"yohaku/model/weights"
)

// loraCase is a golden case of adapters, whose training takes the batches of another case.
type loraCase struct {
	*golden.Case
	batches string
	config  unet.Config
	lora    layer.LoRA
	base    *safetensors.File
	args    struct {
		Model     string  `json:"model"`
		Rank      int     `json:"r"`
		Alpha     float64 `json:"lora_alpha"`
		Timesteps []int   `json:"timesteps"`
	}
}

func TestGoldenLoRA(t *testing.T) {
	golden.Run(t, "08a_lora_sd", func(t *testing.T, c *golden.Case) { checkLoRA(t, c, "07a_train_sd") })
	if os.Getenv("YOHAKU_GOLDEN") != "" { // Not in the repository's subset.
		golden.Run(t, "08b_lora_xl", func(t *testing.T, c *golden.Case) { checkLoRA(t, c, "07b_train_xl") })
	}
}

func checkLoRA(t *testing.T, c *golden.Case, batches string) {
	l := loraCase{Case: c, batches: batches}
	c.Args(t, &l.args)
	l.lora = layer.LoRA{Rank: l.args.Rank, Alpha: l.args.Alpha, Targets: []string{"to_q", "to_k", "to_v", "to_out.0"}}
	l.base = c.Tensors(t, l.args.Model, "diffusion_pytorch_model.safetensors")
	var err error
	if l.config, err = unet.ReadConfig(os.DirFS(c.Path(l.args.Model)), "."); err != nil {
		t.Fatal(err)
	}
	t.Run("gradients", l.checkGradients)
	t.Run("merged", l.checkMerged)
	t.Run("training", l.checkTraining)
}

// graph builds the adapted or plain network for the case's inputs.
func (l loraCase) graph(t *testing.T, b *op.Builder, adapters *layer.LoRA) (pred, loss op.Node) {
	t.Helper()
	in := l.Inputs(t)
	s := golden.Shape(t, in, "sample")
	inputs := unet.Inputs{
		Sample: b.Input(inputSample, s[0], s[2], s[3], s[1]), Timesteps: b.Input(inputTimesteps, s[0]),
		Context: b.Input(inputContext, golden.Shape(t, in, "encoder_hidden_states")...),
	}
	if l.config.HasTextTime() {
		inputs.Pooled = b.Input(inputPooled, golden.Shape(t, in, "text_embeds")...)
		inputs.TimeIDs = b.Input(inputTimeIDs, golden.Shape(t, in, "time_ids")...)
	}
	pred, err := unet.BuildAdapted(b, l.config, inputs, adapters)
	if err != nil {
		t.Fatal(err)
	}
	return pred, b.Apply(op.Mean{}, b.Apply(op.MSEPerSample{}, pred, b.Input(inputTarget, inputs.Sample.Shape()...)))
}

// program compiles it, without weights.
func (l loraCase) program(t *testing.T, b *op.Builder, outputs, grads []op.Node) *compile.Executable {
	t.Helper()
	be := cpu.New(2)
	t.Cleanup(be.Close)
	e, err := compile.Compile(b, be, outputs, grads, compile.Options{Debug: true})
	if err != nil {
		t.Fatal(err)
	}
	in := l.Inputs(t)
	s := golden.Shape(t, in, "sample")
	nettest.NHWC(e.Input(inputSample), golden.Float32(t, in, "sample"), s[0], s[1], s[2], s[3])
	if slices.ContainsFunc(e.Inputs(), func(p compile.ParamInfo) bool { return p.Name == inputTarget }) {
		nettest.NHWC(e.Input(inputTarget), golden.Float32(t, in, "target"), s[0], s[1], s[2], s[3])
	}
	copy(e.Input(inputContext), golden.Float32(t, in, "encoder_hidden_states"))
	for i, step := range l.args.Timesteps {
		e.Input(inputTimesteps)[i] = float32(step)
	}
	if l.config.HasTextTime() {
		copy(e.Input(inputPooled), golden.Float32(t, in, "text_embeds"))
		copy(e.Input(inputTimeIDs), golden.Float32(t, in, "time_ids"))
	}
	return e
}

// adapter reads the case's file, as diffusers saved it.
func (l loraCase) adapter(t *testing.T, modules []string) lora.Adapter {
	t.Helper()
	f := l.Tensors(t, "adapter", "pytorch_lora_weights.safetensors")
	set, layout, err := lora.Read(f, lora.Networks{lora.UNet: modules}, &lora.Config{Rank: l.args.Rank, Alpha: l.args.Alpha})
	if err != nil {
		t.Fatal(err)
	}
	if layout != lora.Diffusers {
		t.Errorf("the file of diffusers is read as layout %s", layout)
	}
	return set[lora.UNet]
}

// checkGradients compares the forward pass and the gradients of the adapters with the case's.
func (l loraCase) checkGradients(t *testing.T) {
	b := op.NewBuilder()
	pred, loss := l.graph(t, b, &l.lora)
	grads, err := b.Grad(loss, slices.DeleteFunc(slices.Clone(b.Params()), func(p op.Node) bool { return !layer.IsAdapter(p.Name()) })...)
	if err != nil {
		t.Fatal(err)
	}
	e := l.program(t, b, []op.Node{loss, pred}, grads)
	frozen, slab := e.Frozen()
	nettest.Load(t, frozen, slab, l.base, nil)
	trained, adapters := e.Trained()
	if err := l.adapter(t, lora.Modules(weights.Params(frozen, slab))).Fill(weights.Params(trained, adapters), l.lora); err != nil {
		t.Fatal(err)
	}
	got := map[string][]float32{}
	if err := e.Run(func(i int, g []float32) { got[peftName(e.GradOrder()[i].Name)] = slices.Clone(g) }); err != nil {
		t.Fatal(err)
	}
	s := golden.Shape(t, l.Inputs(t), "sample")
	l.Near(t, "sample", nettest.NCHW(e.Output(1), s[0], s[1], s[2], s[3]), golden.Float32(t, l.Outputs(t), "sample"))
	l.Near(t, "loss", e.Output(0), golden.Float32(t, l.Outputs(t), "loss"))
	l.NearSet(t, "grad", got, l.prefixed(t, "grad."))
}

// peftName is a parameter's name while PEFT trains it.
func peftName(name string) string { return strings.TrimSuffix(name, "weight") + "default.weight" }

func (l loraCase) prefixed(t *testing.T, prefix string) map[string][]float32 {
	t.Helper()
	out := l.Outputs(t)
	want := map[string][]float32{}
	for _, info := range out.Infos() {
		if name, ok := strings.CutPrefix(info.Name, prefix); ok {
			want[name] = golden.Float32(t, out, info.Name)
		}
	}
	if len(want) == 0 {
		t.Fatalf("the case has no outputs %s…", prefix)
	}
	return want
}

// checkMerged holds the plain network, with the adapter merged into its weights, to the same sample.
func (l loraCase) checkMerged(t *testing.T) {
	b := op.NewBuilder()
	pred, _ := l.graph(t, b, nil)
	e := l.program(t, b, []op.Node{pred}, nil)
	nettest.Load(t, e.Params(), e.ParamSlab(), l.base, nil)
	if err := l.adapter(t, lora.Modules(weights.Params(e.Params(), e.ParamSlab()))).Merge(weights.Params(e.Params(), e.ParamSlab()), 1); err != nil {
		t.Fatal(err)
	}
	if err := e.Run(nil); err != nil {
		t.Fatal(err)
	}
	s := golden.Shape(t, l.Inputs(t), "sample")
	l.Near(t, "sample", nettest.NCHW(e.Output(0), s[0], s[1], s[2], s[3]), golden.Float32(t, l.Outputs(t), "sample"))
}

// checkTraining takes the three MaPO steps of the case on the adapters alone.
func (l loraCase) checkTraining(t *testing.T) {
	batches := l.Sibling(t, l.batches)
	var a goldenArgs
	batches.Args(t, &a)
	noise := diffusion.Default("DDPMScheduler")
	noise.BetaStart, noise.BetaEnd, noise.BetaSchedule = 0.00085, 0.012, "scaled_linear"
	shape, context := golden.Shape(t, batches.Inputs(t), "latents_w"), golden.Shape(t, batches.Inputs(t), "prompt_embeds")
	be := cpu.New(2)
	t.Cleanup(be.Close)
	step, err := New(Config{
		UNet: l.config, Schedule: noise.Schedule(), Items: a.BatchPairs, Height: shape[3], Width: shape[4], ContextLength: context[2],
		Objective: objective.Config{Form: objective.ReferenceCode, Beta: a.BetaMaPO, SNR: a.SNR, Scale: float64(a.Timesteps)}, LoRA: &l.lora,
	}, be)
	if err != nil {
		t.Fatal(err)
	}
	frozen, base := step.exe.Frozen()
	nettest.Load(t, frozen, base, l.base, nil)
	slab := step.ParamSlab()
	if err := l.adapter(t, step.Modules()).Fill(weights.Params(step.Params(), slab), l.lora); err != nil {
		t.Fatal(err)
	}
	r := begin(t, batches, a, step)
	before := slices.Clone(base)
	for s := range a.Steps {
		r.step(s)
	}
	l.Near(t, "mapo.loss", r.figures["loss"], golden.Float32(t, l.Outputs(t), "mapo.loss"))
	l.Near(t, "mapo.grad_norm", r.figures["grad_norm"], golden.Float32(t, l.Outputs(t), "mapo.grad_norm"))
	l.checkMoved(t, step, r.initial)
	if !slices.Equal(base, before) {
		t.Error("the frozen base has changed")
	}
}

// checkMoved holds the adapters after training to the case's, by their way.
func (l loraCase) checkMoved(t *testing.T, step *Step, initial []float32) {
	t.Helper()
	var tol struct {
		RelL2  float64 `json:"delta_rel_l2"`
		MaxAbs float64 `json:"max_abs"`
	}
	l.Tolerance(t, "mapo.params_after_3", &tol)
	want := l.prefixed(t, "mapo.param3.")
	var off, way float64
	for _, p := range step.Params() {
		w := want[peftName(p.Name)]
		for i, x := range step.ParamSlab()[p.Offset : p.Offset+p.Len] { // Linear maps: files have the same layout.
			d := math.Abs(float64(x) - float64(w[i]))
			if d > tol.MaxAbs {
				t.Errorf("%s[%d]: off by %g, at most %g allowed", p.Name, i, d, tol.MaxAbs)
			}
			moved := float64(w[i]) - float64(initial[p.Offset+i])
			off, way = off+d*d, way+moved*moved
		}
	}
	if off, way = math.Sqrt(off), math.Sqrt(way); !(off <= tol.RelL2*way) {
		t.Errorf("adapters after the last step: off by %g of their way, at most %g allowed", off/way, tol.RelL2)
	}
}
