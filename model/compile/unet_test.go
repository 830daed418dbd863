package compile_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"yohaku/model/backend"
	"yohaku/model/backend/cpu"
	"yohaku/model/compile"
	"yohaku/model/objective"
	"yohaku/model/op"
	"yohaku/model/unet"
)

// unetCase is a training program of a UNet: MaPO over pairs.
type unetCase struct {
	channels        []int
	layers, heads   int
	size, pairs     int
	context, tokens int
	groups          int
}

// demoUNet is the size of the built-in demo's network.
var demoUNet = unetCase{channels: []int{64, 128}, layers: 1, heads: 8, size: 16, pairs: 8, context: 128, tokens: 32, groups: 32}

// tinyUNet is for tests of the program's bits.
var tinyUNet = unetCase{channels: []int{8, 16}, layers: 1, heads: 2, size: 8, pairs: 2, context: 12, tokens: 5, groups: 4}

func (c unetCase) config(t testing.TB) unet.Config {
	t.Helper()
	n := len(c.channels)
	list := func(s string) string { return strings.TrimSuffix(strings.Repeat(`"`+s+`",`, n), ",") }
	text := fmt.Sprintf(`{"_class_name":"UNet2DConditionModel","sample_size":%d,"in_channels":4,"out_channels":4,"layers_per_block":%d,
		"block_out_channels":%s,"down_block_types":[%s],"up_block_types":[%s],"cross_attention_dim":%d,"attention_head_dim":%d,"norm_num_groups":%d}`,
		c.size, c.layers, strings.ReplaceAll(fmt.Sprint(c.channels), " ", ","), list("CrossAttnDownBlock2D"), list("CrossAttnUpBlock2D"), c.context, c.heads, c.groups)
	cfg, err := unet.ParseConfig([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// forward builds the network with its loss.
func (c unetCase) forward(t testing.TB) (b *op.Builder, loss, pred op.Node) {
	t.Helper()
	b = op.NewBuilder()
	n := 2 * c.pairs
	pred, err := unet.Build(b, c.config(t), unet.Inputs{Sample: b.Input("sample", n, c.size, c.size, 4), Timesteps: b.Input("timesteps", n), Context: b.Input("context", n, c.tokens, c.context)})
	if err != nil {
		t.Fatal(err)
	}
	mse := b.Apply(op.MSEPerSample{}, pred, b.Input("target", n, c.size, c.size, 4))
	loss = b.Apply(op.PairLoss{Objective: objective.Config{Form: objective.ReferenceCode, Beta: 0.1, SNR: 0.5, Scale: 1000}}, mse, b.Input("terms", c.pairs, op.PairTerms))
	return b, loss, pred
}

// compile makes the training program, with weights and inputs.
func (c unetCase) compile(t testing.TB, be backend.Backend, o compile.Options) *compile.Executable {
	t.Helper()
	b, loss, _ := c.forward(t)
	grads, err := b.Grad(loss, b.Params()...)
	if err != nil {
		t.Fatal(err)
	}
	e, err := compile.Compile(b, be, []op.Node{loss}, grads, o)
	if err != nil {
		t.Fatal(err)
	}
	c.fill(e)
	return e
}

// fill writes weights and inputs, the same on each call.
func (c unetCase) fill(e *compile.Executable) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, p := range e.Params() {
		for i := range p.Len {
			e.ParamSlab()[p.Offset+i] = float32(r.NormFloat64() * 0.1)
		}
	}
	for _, i := range e.Inputs() {
		data := e.Input(i.Name)
		for k := range data {
			switch i.Name {
			case "timesteps":
				data[k] = float32(61 * (k % c.pairs))
			case "seed":
				data[k] = 1
			default:
				data[k] = float32(r.NormFloat64())
			}
		}
	}
}

// BenchmarkDemoUNet measures forward and backward of the demo's network; -v prints what each
// operator takes.
func BenchmarkDemoUNet(b *testing.B) {
	for _, threads := range []int{1, 2} {
		b.Run(fmt.Sprint("threads=", threads), func(b *testing.B) { benchmarkUNet(b, demoUNet, threads) })
	}
}

func benchmarkUNet(b *testing.B, c unetCase, threads int) {
	be := cpu.New(threads)
	defer be.Close()
	e := c.compile(b, be, compile.Options{Profile: true})
	if err := e.Run(nil); err != nil {
		b.Fatal(err)
	}
	e.ResetProfile()
	b.ReportAllocs()
	for b.Loop() {
		if err := e.Run(nil); err != nil {
			b.Fatal(err)
		}
	}
	info := e.Plan()
	b.ReportMetric(float64(info.FLOPs)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
	if testing.Verbose() {
		printProfile(e)
	}
}

func printProfile(e *compile.Executable) {
	type row struct {
		name  string
		time  time.Duration
		flops int64
		calls int
	}
	rows := map[string]*row{}
	var total time.Duration
	for _, i := range e.Profile() {
		r := rows[i.Op]
		if r == nil {
			r = &row{name: i.Op}
			rows[i.Op] = r
		}
		r.time, r.flops, r.calls = r.time+i.Time, r.flops+i.FLOPs, r.calls+1
		total += i.Time
	}
	var list []*row
	for _, r := range rows {
		list = append(list, r)
	}
	slices.SortFunc(list, func(a, b *row) int { return cmp.Compare(b.time, a.time) })
	fmt.Printf("\n%+v\n%-32s %5s %9s %6s %8s\n", e.Plan(), "operator", "calls", "ms", "%", "GFLOP/s")
	for _, r := range list {
		fmt.Printf("%-32s %5d %9.3f %6.1f %8.1f\n", r.name, r.calls, float64(r.time.Microseconds())/1000, 100*float64(r.time)/float64(total), float64(r.flops)/r.time.Seconds()/1e9)
	}
}
