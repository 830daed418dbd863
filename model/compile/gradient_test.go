package compile_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"yohaku/model/backend/cpu"
	"yohaku/model/compile"
	"yohaku/model/objective"
	"yohaku/model/op"
)

// operatorCase is one operator on tiny shapes. fixed operands get no gradient.
type operatorCase struct {
	name  string
	def   op.Def
	in    []op.Shape
	fixed map[int][]float64 // Operand → values.
}

func shapes(s ...op.Shape) []op.Shape { return s }

var operatorCases = []operatorCase{
	{"conv 3x3", op.Conv2D{Stride: 1, PadTop: 1, PadLeft: 1, PadBottom: 1, PadRight: 1}, shapes(op.Shape{2, 5, 4, 3}, op.Shape{3, 3, 3, 4}, op.Shape{4}), nil},
	{"conv stride 2", op.Conv2D{Stride: 2, PadTop: 1, PadLeft: 1, PadBottom: 1, PadRight: 1}, shapes(op.Shape{2, 6, 5, 3}, op.Shape{3, 3, 3, 2}, op.Shape{2}), nil},
	{"conv vae down", op.Conv2D{Stride: 2, PadBottom: 1, PadRight: 1}, shapes(op.Shape{1, 6, 6, 2}, op.Shape{3, 3, 2, 5}, op.Shape{5}), nil},
	{"conv 1x1 no bias", op.Conv2D{Stride: 1}, shapes(op.Shape{2, 3, 3, 5}, op.Shape{1, 1, 5, 3}), nil},
	{"linear", op.Linear{}, shapes(op.Shape{2, 7, 5}, op.Shape{6, 5}, op.Shape{6}), nil},
	{"linear no bias", op.Linear{}, shapes(op.Shape{3, 5}, op.Shape{4, 5}), nil},
	{"group norm", op.GroupNorm{Groups: 2, Eps: 1e-5}, shapes(op.Shape{2, 9, 8, 6}, op.Shape{6}, op.Shape{6}), nil},
	{"group norm silu", op.GroupNorm{Groups: 3, Eps: 1e-6, SiLU: true}, shapes(op.Shape{2, 5, 6}, op.Shape{6}, op.Shape{6}), nil},
	{"layer norm", op.LayerNorm{Eps: 1e-5}, shapes(op.Shape{2, 3, 7}, op.Shape{7}, op.Shape{7}), nil},
	{"attention", op.Attention{Heads: 2}, shapes(op.Shape{2, 5, 6}, op.Shape{2, 7, 6}, op.Shape{2, 7, 6}), nil},
	{"attention causal", op.Attention{Heads: 1, Causal: true, Scale: 0.7}, shapes(op.Shape{2, 5, 4}, op.Shape{2, 5, 4}, op.Shape{2, 5, 4}), nil},
	{"attention negative scale", op.Attention{Heads: 1, Scale: -0.7}, shapes(op.Shape{1, 3, 4}, op.Shape{1, 5, 4}, op.Shape{1, 5, 4}), nil},
	{"silu", op.SiLU{}, shapes(op.Shape{3, 7}), nil},
	{"gelu", op.GELU{}, shapes(op.Shape{3, 7}), nil},
	{"quick gelu", op.QuickGELU{}, shapes(op.Shape{3, 7}), nil},
	{"geglu", op.GEGLU{}, shapes(op.Shape{2, 3, 10}), nil},
	{"add", op.Add{}, shapes(op.Shape{2, 5}, op.Shape{2, 5}), nil},
	{"add broadcast", op.AddBroadcast{}, shapes(op.Shape{2, 3, 4, 5}, op.Shape{2, 5}), nil},
	{"add position", op.AddPosition{}, shapes(op.Shape{3, 4, 5}, op.Shape{4, 5}), nil},
	{"scale", op.Scale{By: -1.5}, shapes(op.Shape{2, 5}), nil},
	{"sum", op.Sum{}, shapes(op.Shape{2, 5}), nil},
	{"mean", op.Mean{}, shapes(op.Shape{2, 5}), nil},
	{"reshape", op.Reshape{Shape: op.Shape{5, 2}}, shapes(op.Shape{2, 5}), nil},
	{"to nhwc", op.ToNHWC{}, shapes(op.Shape{2, 3, 4, 5}), nil},
	{"to nchw", op.ToNCHW{}, shapes(op.Shape{2, 3, 4, 5}), nil},
	{"upsample", op.Upsample2x{}, shapes(op.Shape{2, 3, 4, 5}), nil},
	{"repeat", op.Repeat{Times: 3}, shapes(op.Shape{2, 3, 5}), nil},
	{"concat", op.Concat{}, shapes(op.Shape{2, 3, 4}, op.Shape{2, 3, 2}), nil},
	{"slice", op.Slice{From: 1, To: 3}, shapes(op.Shape{2, 3, 5}), nil},
	{"embedding", op.Embedding{}, shapes(op.Shape{2, 3}, op.Shape{5, 4}), map[int][]float64{0: {4, 0, 2, 2, 2, 1}}},
	{"take row", op.TakeRow{}, shapes(op.Shape{2, 3, 4}, op.Shape{2}), map[int][]float64{1: {2, 0}}},
	{"mse", op.MSEPerSample{}, shapes(op.Shape{3, 2, 4}, op.Shape{3, 2, 4}), map[int][]float64{1: ramp(24)}},
	{"linear of many rows", op.Linear{}, shapes(op.Shape{150, 2}, op.Shape{3, 2}, op.Shape{3}), nil},
	{"layer norm of many rows", op.LayerNorm{Eps: 1e-5}, shapes(op.Shape{130, 3}, op.Shape{3}, op.Shape{3}), nil},
	{"layer norm of wide rows", op.LayerNorm{Eps: 1e-5}, shapes(op.Shape{3, 21}, op.Shape{21}, op.Shape{21}), nil},
	{"group norm of one position", op.GroupNorm{Groups: 2, Eps: 1e-5}, shapes(op.Shape{2, 8}, op.Shape{8}, op.Shape{8}), nil},
	{"group norm silu wide", op.GroupNorm{Groups: 2, Eps: 1e-5, SiLU: true}, shapes(op.Shape{2, 2, 20}, op.Shape{20}, op.Shape{20}), nil},
	{"geglu wide", op.GEGLU{}, shapes(op.Shape{2, 38}), nil},
	{"sum of chunks", op.Sum{}, shapes(op.Shape{70, 64}), nil},
	{"error product", op.ErrorProduct{}, shapes(op.Shape{4, 3, 2}, op.Shape{4, 3, 2}), map[int][]float64{0: ramp(24), 1: make([]float64, 24)}},
	{"prepend row", op.PrependRow{}, shapes(op.Shape{2, 3, 4}, op.Shape{4}), map[int][]float64{0: ramp(24), 1: ramp(4)}},
	{"mapo code", op.PairLoss{Objective: objective.Config{Form: objective.ReferenceCode, Beta: 0.1, SNR: 0.5, Scale: 20}}, shapes(op.Shape{6}, op.Shape{3, op.PairTerms}), map[int][]float64{1: ramp(3 * op.PairTerms)}},
	{"mapo paper", op.PairLoss{Objective: objective.Config{Form: objective.Paper, Beta: 8}}, shapes(op.Shape{4}, op.Shape{2, op.PairTerms}), map[int][]float64{1: ramp(2 * op.PairTerms)}},
	{"dpo", op.PairLoss{Objective: objective.Config{Form: objective.DPO, Beta: 3}}, shapes(op.Shape{6}, op.Shape{3, op.PairTerms}), map[int][]float64{1: ramp(3 * op.PairTerms)}},
	{"sft", op.PairLoss{Objective: objective.Config{Form: objective.SFT}}, shapes(op.Shape{3}, op.Shape{3, op.PairTerms}), map[int][]float64{1: ramp(3 * op.PairTerms)}},
}

func ramp(n int) []float64 {
	r := make([]float64, n)
	for i := range r {
		r[i] = float64(i%7)/4 - 0.5
	}
	return r
}

// TestOperatorsAgainstReference holds each operator's result to its definition in float64, and its
// gradient, through gorgonia.Grad and the compiled program, to central differences of that definition.
func TestOperatorsAgainstReference(t *testing.T) {
	be := cpu.New(2)
	defer be.Close()
	for i, c := range operatorCases {
		t.Run(c.name, func(t *testing.T) {
			for _, o := range []compile.Options{{Debug: true}, {Debug: true, Unshared: true}} {
				checkOperator(t, be, c, uint64(i), o)
			}
		})
	}
}

func checkOperator(t *testing.T, be *cpu.Backend, c operatorCase, seed uint64, o compile.Options) {
	t.Helper()
	in := operands(c, seed)
	want := reference(c.def, in)
	target := randomArray(rand.New(rand.NewPCG(seed, 99)), want.shape)
	e := operatorProgram(t, be, c, want.shape, o)
	for i, a := range in {
		fill32(operand(e, i), a.data)
	}
	fill32(e.Input("target"), target.data)
	grads := map[string][]float32{}
	if err := e.Run(func(i int, g []float32) { grads[e.GradOrder()[i].Name] = append([]float32(nil), g...) }); err != nil {
		t.Fatal(err)
	}
	for i, v := range e.Output(0) {
		if math.Abs(float64(v)-want.data[i]) > 2e-6*(1+math.Abs(want.data[i])) {
			t.Fatalf("seed %d, %+v: result[%d] = %v, want %v", seed, o, i, v, want.data[i])
		}
	}
	for i := range in {
		if c.fixed[i] == nil {
			checkGradient(t, c, in, i, target, grads[fmt.Sprint("x", i)], seed)
		}
	}
}

func operand(e *compile.Executable, i int) []float32 {
	name := fmt.Sprint("x", i)
	for _, p := range e.Params() {
		if p.Name == name {
			return e.ParamSlab()[p.Offset:][:p.Len]
		}
	}
	return e.Input(name)
}

// operatorProgram is loss = Σ (y − target)² with y the operator's result.
func operatorProgram(t *testing.T, be *cpu.Backend, c operatorCase, out op.Shape, o compile.Options) *compile.Executable {
	t.Helper()
	b := op.NewBuilder()
	var in, wrt []op.Node
	for i, s := range c.in {
		if c.fixed[i] != nil {
			in = append(in, b.Input(fmt.Sprint("x", i), s...))
			continue
		}
		in = append(in, b.Param(fmt.Sprint("x", i), s...))
		wrt = append(wrt, in[i])
	}
	y := b.Apply(c.def, in...)
	n := out.TotalSize()
	flat := b.Apply(op.Reshape{Shape: op.Shape{n, 1}}, y)
	loss := b.Apply(op.Sum{}, b.Apply(op.MSEPerSample{}, flat, b.Input("target", n, 1)))
	var grads []op.Node
	var err error
	if len(wrt) > 0 { // Some operators have no gradient.
		if grads, err = b.Grad(loss, wrt...); err != nil {
			t.Fatal(err)
		}
	}
	e, err := compile.Compile(b, be, []op.Node{y, loss}, grads, o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func checkGradient(t *testing.T, c operatorCase, in []array, i int, target array, got []float32, seed uint64) {
	t.Helper()
	if len(got) != len(in[i].data) {
		t.Fatalf("gradient of operand %d has %d elements, want %d", i, len(got), len(in[i].data))
	}
	loss := func() float64 {
		var s float64
		for k, v := range reference(c.def, in).data {
			s += (v - target.data[k]) * (v - target.data[k])
		}
		return s
	}
	const h = 1e-5
	want := make([]float64, len(got))
	var most float64
	for k := range in[i].data {
		old := in[i].data[k]
		in[i].data[k] = old + h
		up := loss()
		in[i].data[k] = old - h
		want[k] = (up - loss()) / (2 * h)
		in[i].data[k] = old
		most = math.Max(most, math.Abs(want[k]))
	}
	for k := range want {
		if math.Abs(float64(got[k])-want[k]) > 5e-6*(most+1e-2) || math.IsNaN(float64(got[k])) {
			t.Errorf("seed %d: gradient of operand %d at %d is %v, want %v (largest %v)", seed, i, k, got[k], want[k], most)
			return
		}
	}
}

// operands are random float32 values in float64, positive for losses.
func operands(c operatorCase, seed uint64) []array {
	r := rand.New(rand.NewPCG(seed, 1))
	var in []array
	for i, s := range c.in {
		a := randomArray(r, s)
		if f := c.fixed[i]; f != nil {
			copy(a.data, f)
		}
		if _, ok := c.def.(op.PairLoss); ok {
			for k := range a.data {
				a.data[k] = float64(float32(0.1 + math.Abs(a.data[k])))
			}
		}
		in = append(in, a)
	}
	return in
}

func randomArray(r *rand.Rand, shape op.Shape) array {
	a := zeros(shape...)
	for i := range a.data {
		a.data[i] = float64(float32(r.NormFloat64()))
	}
	return a
}

func fill32(dst []float32, src []float64) {
	for i, v := range src {
		dst[i] = float32(v)
	}
}

// TestLoserSafeguard: the loser's gradient, and nothing else, is scaled by objective.Pair.Safeguard.
func TestLoserSafeguard(t *testing.T) {
	be := cpu.New(1)
	defer be.Close()
	c := objective.Config{Form: objective.DPO, Beta: 3, LoserSafeguard: true}
	b := op.NewBuilder()
	m, terms, product := b.Input("m", 4), b.Input("terms", 2, op.PairTerms), b.Input("product", 2)
	loss := b.Apply(op.PairLoss{Objective: c}, m, terms, product)
	grads, err := b.Grad(loss, m)
	if err != nil {
		t.Fatal(err)
	}
	e, err := compile.Compile(b, be, []op.Node{loss}, grads, compile.Options{})
	if err != nil {
		t.Fatal(err)
	}
	copy(e.Input("m"), []float32{0.1, 0.3, 0.2, 0.4})
	copy(e.Input("product"), []float32{0.13, 0.02}) // The first works against its winner.
	plain := objective.Plain
	for i := range 2 {
		copy(e.Input("terms")[i*op.PairTerms:], []float32{0, 0, float32(plain.Weight), float32(plain.Margin)})
	}
	var got []float32
	if err := e.Run(func(_ int, g []float32) { got = append(got, g...) }); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		w := float64(e.Input("m")[i])
		p := c.Pair(w, float64(e.Input("m")[2+i]), plain)
		lambda := p.Safeguard(w, float64(e.Input("product")[i]))
		if want := (lambda < 1) == (i == 0); !want {
			t.Errorf("pair %d: λ %g", i, lambda)
		}
		if float32(p.GradW) != got[i] || float32(p.GradL*lambda) != got[2+i] {
			t.Errorf("pair %d: gradients %v and %v, want %v and %v", i, got[i], got[2+i], p.GradW, p.GradL*lambda)
		}
	}
}
