package train

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"yohaku/internal/golden"
	"yohaku/model/backend/cpu"
	"yohaku/model/compile"
	"yohaku/model/diffusion"
	"yohaku/model/internal/nettest"
	"yohaku/model/objective"
	"yohaku/model/op"
	"yohaku/model/optim"
	"yohaku/model/unet"
)

// goldenArgs are the arguments of a training case.
type goldenArgs struct {
	Model      string          `json:"model"`
	BatchPairs int             `json:"batch_pairs"`
	Steps      int             `json:"steps"`
	Timesteps  int             `json:"num_train_timesteps"`
	Scheduler  json.RawMessage `json:"scheduler"`
	BetaMaPO   float64         `json:"beta_mapo"`
	SNR        float64         `json:"snr_value"`
	BetaDPO    float64         `json:"beta_dpo"`
	Optimizer  struct {
		LR          float64    `json:"lr"`
		Betas       [2]float64 `json:"betas"`
		WeightDecay float64    `json:"weight_decay"`
		Eps         float64    `json:"eps"`
	} `json:"optimizer"`
	MaxGradNorm float64  `json:"max_grad_norm"`
	ParamOrder  []string `json:"param_order"`
}

func TestGoldenTrainingSteps(t *testing.T) {
	golden.RunSubs(t, "07a_train_sd", []string{"mapo_epsilon", "mapo_v_prediction", "dpo_epsilon", "sft_epsilon"}, checkSteps)
	if os.Getenv("YOHAKU_GOLDEN") != "" { // Not in the repository's subset.
		golden.RunSubs(t, "07b_train_xl", []string{"mapo_epsilon", "mapo_v_prediction", "dpo_epsilon", "sft_epsilon"}, checkSteps)
	}
}

// checkSteps takes three steps of one micro-batch each and compares every figure of every step, the first step's
// gradients and the last one's parameters.
func checkSteps(t *testing.T, c *golden.Case) {
	var a goldenArgs
	c.Args(t, &a)
	r := newRun(t, c, a)
	for s := range a.Steps {
		r.step(s)
	}
	r.checkFigures()
	r.checkGradients()
	r.checkParameters()
}

// run is a training of one case.
type run struct {
	t       *testing.T
	c       *golden.Case
	args    goldenArgs
	model   *Step
	adam    optim.AdamW
	initial []float32 // The parameters before the first step.
	m, v    []float32
	first   [][]float32 // The first step's gradients of the mean loss, in GradOrder.
	figures map[string][]float32
}

// objective is the loss of a case's part.
func (a goldenArgs) objective(method string) objective.Config {
	switch method {
	case "dpo":
		return objective.Config{Form: objective.DPO, Beta: a.BetaDPO}
	case "sft":
		return objective.Config{Form: objective.SFT}
	}
	return objective.Config{Form: objective.ReferenceCode, Beta: a.BetaMaPO, SNR: a.SNR, Scale: float64(a.Timesteps)}
}

func newRun(t *testing.T, c *golden.Case, a goldenArgs) *run {
	t.Helper()
	cfg, err := unet.ReadConfig(os.DirFS(c.Path(a.Model)), ".")
	if err != nil {
		t.Fatal(err)
	}
	var scheduler map[string]any
	if err := json.Unmarshal(a.Scheduler, &scheduler); err != nil {
		t.Fatal(err)
	}
	method, prediction, _ := strings.Cut(c.Sub, "_")
	scheduler["prediction_type"] = prediction
	data, err := json.Marshal(scheduler)
	if err != nil {
		t.Fatal(err)
	}
	noise, err := diffusion.ParseConfig(data)
	if err != nil {
		t.Fatal(err)
	}
	shape, context := golden.Shape(t, c.Inputs(t), "latents_w"), golden.Shape(t, c.Inputs(t), "prompt_embeds")
	be := cpu.New(2)
	t.Cleanup(be.Close)
	step, err := New(Config{
		UNet: cfg, Schedule: noise.Schedule(), Items: a.BatchPairs, Height: shape[3], Width: shape[4], ContextLength: context[2],
		Objective: a.objective(method),
	}, be)
	if err != nil {
		t.Fatal(err)
	}
	nettest.Load(t, step.Params(), step.ParamSlab(), c.Tensors(t, a.Model, "diffusion_pytorch_model.safetensors"), nil)
	slab := step.ParamSlab()
	if step.reference != nil {
		copy(step.reference.ParamSlab(), slab)
	}
	return begin(t, c, a, step)
}

// begin begins a training of the model as it is now.
func begin(t *testing.T, c *golden.Case, a goldenArgs, step *Step) *run {
	slab := step.ParamSlab()
	return &run{
		t: t, c: c, args: a, model: step, initial: slices.Clone(slab), m: make([]float32, len(slab)), v: make([]float32, len(slab)),
		adam:    optim.AdamW{Beta1: a.Optimizer.Betas[0], Beta2: a.Optimizer.Betas[1], Eps: a.Optimizer.Eps, WeightDecay: a.Optimizer.WeightDecay},
		figures: map[string][]float32{},
	}
}

// step takes training step s.
func (r *run) step(s int) {
	r.t.Helper()
	if err := r.model.Fill(r.items(s)); err != nil {
		r.t.Fatal(err)
	}
	order := r.model.GradOrder()
	grads := make([][]float32, len(order))
	result, err := r.model.Run(func(i int, grad []float32) { grads[i] = slices.Clone(grad) })
	if err != nil {
		r.t.Fatal(err)
	}
	norm := 0.0
	perItem := 1 / float64(r.args.BatchPairs) // The case's loss is the mean.
	for _, g := range grads {
		for i := range g {
			g[i] *= float32(perItem)
			norm += float64(g[i]) * float64(g[i])
		}
	}
	norm = math.Sqrt(norm)
	clip := optim.ClipCoefficient(norm, r.args.MaxGradNorm)
	slab := r.model.ParamSlab()
	for i, g := range grads {
		lo, hi := order[i].Offset, order[i].Offset+order[i].Len
		r.adam.Step(slab[lo:hi], g, r.m[lo:hi], r.v[lo:hi], s+1, r.args.Optimizer.LR, clip)
	}
	if s == 0 {
		r.first = grads
	}
	r.note(result, norm)
}

func (r *run) note(result Result, norm float64) {
	put := func(key string, v float64) { r.figures[key] = append(r.figures[key], float32(v)) }
	form := r.model.config.Objective.Form
	for i, it := range result.Items {
		put("model_losses_w", it.WinnerMSE)
		if form == objective.SFT {
			continue
		}
		put("model_losses_l", it.LoserMSE)
		if form != objective.DPO {
			put("log_odds", it.LogOdds)
			put("ratio_losses", it.Ratio)
			continue
		}
		put("inside_term", it.LogOdds)
		terms := r.model.exe.Input(inputTerms)[i*op.PairTerms:]
		put("ref_losses_w", float64(terms[op.TermRefWinner]))
		put("ref_losses_l", float64(terms[op.TermRefLoser]))
	}
	put("grad_norm", norm)
	put("loss", result.Loss/float64(len(result.Items)))
}

// items are row s of the case's inputs.
func (r *run) items(s int) []Item {
	in := r.c.Inputs(r.t)
	timesteps, err := in.Int64s("timesteps")
	if err != nil {
		r.t.Fatal(err)
	}
	part := func(name string, i int) []float32 {
		x := golden.Float32(r.t, in, name)
		n := len(x) / (r.args.Steps * r.args.BatchPairs)
		row := s*r.args.BatchPairs + i
		return x[row*n : (row+1)*n]
	}
	items := make([]Item, r.args.BatchPairs)
	for i := range items {
		items[i] = Item{Winner: part("latents_w", i), Loser: part("latents_l", i), Noise: part("noise", i),
			Timestep: int(timesteps[s*r.args.BatchPairs+i]), Context: part("prompt_embeds", i)}
		if r.model.config.UNet.HasTextTime() {
			items[i].Pooled, items[i].TimeIDs = part("text_embeds", i), part("time_ids", i)
		}
	}
	return items
}

func (r *run) checkFigures() {
	out := r.c.Outputs(r.t)
	for key, got := range r.figures {
		want := golden.Float32(r.t, out, r.c.Sub+"."+key)
		n := len(got) / r.args.Steps
		r.c.Near(r.t, r.c.Sub+"."+key+".step0", got[:n], want[:n])
		r.c.Near(r.t, r.c.Sub+"."+key+".all_steps", got, want)
	}
}

// checkGradients holds the gradients that the case has, and the norm of every one, to the case's.
func (r *run) checkGradients() {
	out, order := r.c.Outputs(r.t), r.model.GradOrder()
	got, norms := map[string][]float32{}, map[string]float64{}
	for i, g := range r.first {
		got[order[i].Name] = nettest.FileLayout(g, order[i].Shape)
		norms[order[i].Name] = norm(g)
	}
	want := map[string][]float32{}
	for _, info := range out.Infos() {
		if name, ok := strings.CutPrefix(info.Name, r.c.Sub+".grad."); ok {
			want[name] = golden.Float32(r.t, out, info.Name)
		}
	}
	r.c.NearSet(r.t, r.c.Sub+".grad", got, want)

	var tol struct{ Rel, G float64 }
	r.c.Tolerance(r.t, r.c.Sub+".grad", &tol)
	for i, w := range golden.Float32(r.t, out, r.c.Sub+".grad_l2_per_param") {
		name := r.args.ParamOrder[i]
		limit := tol.Rel * math.Sqrt(float64(len(got[name]))) * (float64(w) + 1e-3*tol.G)
		if d := math.Abs(norms[name] - float64(w)); !(d <= limit) {
			r.t.Errorf("gradient norm of %s: got %g, want %g, off by %g of %g allowed", name, norms[name], w, d, limit)
		}
	}
}

// checkParameters holds the parameters after the last step to the case's, by the rule of its "params_after_3".
func (r *run) checkParameters() {
	var tol struct {
		RelL2  float64 `json:"delta_rel_l2"`
		MaxAbs float64 `json:"max_abs"`
	}
	r.c.Tolerance(r.t, r.c.Sub+".params_after_3", &tol)
	out, slab := r.c.Outputs(r.t), r.model.ParamSlab()
	moved := map[string]float64{} // Length of each parameter's way.
	var off, way float64
	for _, p := range r.model.Params() {
		delta := difference(slab, r.initial, p)
		moved[p.Name] = norm(delta)
		name := r.c.Sub + ".param3." + p.Name
		if _, ok := out.Info(name); !ok {
			continue
		}
		want := make([]float32, p.Len)
		nettest.EngineLayout(want, golden.Float32(r.t, out, name), p.Shape)
		for i, w := range want {
			d := math.Abs(float64(slab[p.Offset+i]) - float64(w))
			if d > tol.MaxAbs {
				r.t.Errorf("parameter %s[%d]: off by %g, at most %g allowed", p.Name, i, d, tol.MaxAbs)
			}
			step := float64(w) - float64(r.initial[p.Offset+i])
			off, way = off+d*d, way+step*step
		}
	}
	if off, way = math.Sqrt(off), math.Sqrt(way); !(off <= tol.RelL2*way) {
		r.t.Errorf("parameters after %d steps: off by %g of their way, at most %g allowed", r.args.Steps, off/way, tol.RelL2)
	} else if way > 0 {
		r.t.Logf("parameters after %d steps: off by %.3g of their way, %.3g allowed", r.args.Steps, off/way, tol.RelL2)
	}
	ways := golden.Float32(r.t, out, r.c.Sub+".param_delta_l2_per_param")
	total := norm(ways)
	for i, w := range ways {
		if d := math.Abs(moved[r.args.ParamOrder[i]] - float64(w)); !(d <= tol.RelL2*total) {
			r.t.Errorf("parameter %s moved by %g, want %g", r.args.ParamOrder[i], moved[r.args.ParamOrder[i]], w)
		}
	}
}

func difference(now, before []float32, p compile.ParamInfo) []float32 {
	d := make([]float32, p.Len)
	for i := range d {
		d[i] = now[p.Offset+i] - before[p.Offset+i]
	}
	return d
}

func norm(x []float32) float64 {
	sum := 0.0
	for _, v := range x {
		sum += float64(v) * float64(v)
	}
	return math.Sqrt(sum)
}
