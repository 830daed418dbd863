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
	noMaPO          bool
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

// graph builds the network with its loss and gradients.
func (c unetCase) graph(t testing.TB) (b *op.Builder, loss op.Node, grads []op.Node) {
	t.Helper()
	b = op.NewBuilder()
	n := 2 * c.pairs
	pred, err := unet.Build(b, c.config(t), unet.Inputs{Sample: b.Input("sample", n, c.size, c.size, 4), Timesteps: b.Input("timesteps", n), Context: b.Input("context", n, c.tokens, c.context)})
	if err != nil {
		t.Fatal(err)
	}
	mse := b.Apply(op.MSEPerSample{}, pred, b.Input("target", n, c.size, c.size, 4))
	loss = b.Apply(op.MaPO{Objective: objective.Config{Form: objective.ReferenceCode, Beta: 0.1, SNR: 0.5, Scale: 1000}}, mse)
	grads, err = b.Grad(loss, b.Params()...)
	if err != nil {
		t.Fatal(err)
	}
	return b, loss, grads
}

func (c unetCase) compile(t testing.TB, be backend.Backend, o compile.Options) *compile.Executable {
	t.Helper()
	b, loss, grads := c.graph(t)
	e, err := compile.Compile(b, be, []op.Node{loss}, grads, o)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for _, p := range e.Params() {
		for i := range p.Len {
			e.ParamSlab()[p.Offset+i] = float32(r.NormFloat64() * 0.1)
		}
	}
	for _, name := range []string{"sample", "context", "target"} {
		for i := range e.Input(name) {
			e.Input(name)[i] = float32(r.NormFloat64())
		}
	}
	for i := range e.Input("timesteps") {
		e.Input("timesteps")[i] = float32(61 * (i % c.pairs))
	}
	return e
}

// BenchmarkDemoUNet measures forward and backward of the demo's network; -v prints what each
// operator takes.
func BenchmarkDemoUNet(b *testing.B) { benchmarkUNet(b, demoUNet) }

func benchmarkUNet(b *testing.B, c unetCase) {
	be := cpu.New(0)
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
