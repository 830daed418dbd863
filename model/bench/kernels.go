package bench

import (
	"fmt"
	"math/rand/v2"

	"yohaku/model/backend"
	"yohaku/model/backend/cpu"
	"yohaku/model/kernel"
	"yohaku/model/op"
	"yohaku/model/optim"
)

// kernelMakers are the kinds of kernels().
func kernelMakers() map[string]Maker {
	return map[string]Maker{
		"gemm":         makeGemm,
		"conv-forward": makeConv((*kernel.Pool).ConvForward), "conv-data": makeConv((*kernel.Pool).ConvDataGrad), "conv-weight": makeConv((*kernel.Pool).ConvWeightGrad),
		"attention-forward": makeAttentionForward, "attention-backward": makeAttentionBackward,
		"norm-forward": makeNormForward, "norm-backward": makeNormBackward,
		"adamw": makeAdamW, "silu": makeSiLU,
	}
}

// uniform returns n numbers in [−1, 1), the same each time.
func uniform(be *cpu.Backend, n int) []float32 {
	x, r := be.Alloc(n), rand.New(rand.NewPCG(1, uint64(n)))
	for i := range x {
		x[i] = 2*r.Float32() - 1
	}
	return x
}

// run makes a job of a function that cannot fail.
func run(flops int, f func()) *Job {
	return &Job{FLOPs: int64(flops), Run: func() error { f(); return nil }}
}

func makeGemm(be *cpu.Backend, r Request) (*Job, error) {
	s := r.Shape
	m, n, k := s["m"], s["n"], s["k"]
	a := kernel.GemmArgs{M: m, N: n, K: k, TransA: s["trans_a"] == 1, TransB: s["trans_b"] == 1, LDA: k, LDB: n, LDC: n, BF16: r.DType == BFloat16}
	if a.TransA {
		a.LDA = m
	}
	if a.TransB {
		a.LDB = k
	}
	a.A, a.B, a.C = uniform(be, m*k), uniform(be, k*n), be.Alloc(m*n)
	return run(2*m*n*k, func() { be.Pool().Gemm(&a) }), nil
}

func makeConv(pass func(*kernel.Pool, *kernel.ConvArgs)) Maker {
	return func(be *cpu.Backend, r Request) (*Job, error) {
		b, side, in, out := r.Shape["batch"], r.Shape["side"], r.Shape["in"], r.Shape["out"]
		pixels := b * side * side
		a := kernel.ConvArgs{
			B: b, H: side, W: side, Cin: in, OH: side, OW: side, Cout: out, KH: 3, KW: 3, Stride: 1, PadTop: 1, PadLeft: 1,
			X: uniform(be, pixels*in), Wt: uniform(be, 9*in*out), Y: uniform(be, pixels*out), Bias: uniform(be, out),
			BF16: r.DType == BFloat16,
		}
		return run(2*pixels*9*in*out, func() { pass(be.Pool(), &a) }), nil
	}
}

func attentionArgs(be *cpu.Backend, s map[string]int) *kernel.AttentionArgs {
	width := s["heads"] * s["dim"]
	q, k := s["batch"]*s["queries"]*width, s["batch"]*s["keys"]*width
	return &kernel.AttentionArgs{
		Batch: s["batch"], Heads: s["heads"], Queries: s["queries"], Keys: s["keys"], Dim: s["dim"], Scale: 0.3,
		Q: uniform(be, q), K: uniform(be, k), V: uniform(be, k), O: be.Alloc(q), LogSums: be.Alloc(s["batch"] * s["heads"] * s["queries"]),
		DO: uniform(be, q), DQ: be.Alloc(q), DK: be.Alloc(k), DV: be.Alloc(k),
	}
}

// scoreFLOPs is one product of queries and keys over all heads.
func scoreFLOPs(a *kernel.AttentionArgs) int {
	return 2 * a.Batch * a.Heads * a.Queries * a.Keys * a.Dim
}

func makeAttentionForward(be *cpu.Backend, r Request) (*Job, error) {
	a := attentionArgs(be, r.Shape)
	return run(2*scoreFLOPs(a), func() { be.Pool().AttentionForward(a) }), nil
}

// makeAttentionBackward counts five products: the scores again, and four for the gradients.
func makeAttentionBackward(be *cpu.Backend, r Request) (*Job, error) {
	a := attentionArgs(be, r.Shape)
	be.Pool().AttentionForward(a)
	return run(5*scoreFLOPs(a), func() { be.Pool().AttentionBackward(a) }), nil
}

// bound is an operator as the backend runs it, with operands of its own.
func bound(be *cpu.Backend, d op.Def, in [][]float32, inShapes []op.Shape) (func() error, [][]float32, error) {
	outShapes, err := d.Infer(inShapes)
	if err != nil {
		return nil, nil, fmt.Errorf("infer %s: %w", d.Name(), err)
	}
	k, err := be.Choose(d, inShapes, outShapes)
	if err != nil {
		return nil, nil, fmt.Errorf("choose %s: %w", d.Name(), err)
	}
	out := make([][]float32, len(outShapes))
	for i, s := range outShapes {
		out[i] = be.Alloc(s.TotalSize())
	}
	return k.Bind(backend.Args{In: in, Out: out, Scratch: be.Alloc(k.Scratch)}), out, nil
}

// normOperands are x, gamma and beta with their shapes.
func normOperands(be *cpu.Backend, s map[string]int) (op.GroupNorm, [][]float32, []op.Shape) {
	c := s["channels"]
	x := op.Shape{s["batch"], s["side"], s["side"], c}
	return op.GroupNorm{Groups: s["groups"], Eps: 1e-5, SiLU: true},
		[][]float32{uniform(be, x.TotalSize()), uniform(be, c), uniform(be, c)}, []op.Shape{x, {c}, {c}}
}

func makeNormForward(be *cpu.Backend, r Request) (*Job, error) {
	d, in, shapes := normOperands(be, r.Shape)
	f, _, err := bound(be, d, in, shapes)
	return &Job{Run: f}, err
}

func makeNormBackward(be *cpu.Backend, r Request) (*Job, error) {
	d, in, shapes := normOperands(be, r.Shape)
	forward, out, err := bound(be, d, in, shapes)
	if err != nil {
		return nil, err
	}
	if err := forward(); err != nil {
		return nil, err
	}
	statistics := op.Shape{r.Shape["batch"], d.Groups, 2}
	f, _, err := bound(be, op.GroupNormBackward{Norm: d}, append(in, out[1], uniform(be, shapes[0].TotalSize())), append(shapes, statistics, shapes[0]))
	return &Job{Run: f}, err
}

// spread calls f for ranges of [0, n) on the pool's threads.
func spread(p *kernel.Pool, n int, f func(lo, hi int)) func() {
	const grain = 1 << 15
	task := func(t, _ int) { f(t*grain, min(n, (t+1)*grain)) }
	return func() { p.Run((n+grain-1)/grain, task) }
}

func makeAdamW(be *cpu.Backend, r Request) (*Job, error) {
	n := r.Shape["elements"]
	p, g, m, v := uniform(be, n), uniform(be, n), be.Alloc(n), be.Alloc(n)
	adam := optim.DefaultAdamW()
	return run(0, spread(be.Pool(), n, func(lo, hi int) { adam.Step(p[lo:hi], g[lo:hi], m[lo:hi], v[lo:hi], 100, 1e-5, 1) })), nil
}

func makeSiLU(be *cpu.Backend, r Request) (*Job, error) {
	n := r.Shape["elements"]
	x, y := uniform(be, n), be.Alloc(n)
	return run(0, spread(be.Pool(), n, func(lo, hi int) { kernel.SiLU(y[lo:hi], x[lo:hi]) })), nil
}
