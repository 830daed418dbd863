package cpu

import (
	"fmt"

	"yohaku/model/backend"
	"yohaku/model/kernel"
	"yohaku/model/op"
)

// manner is how a product is computed.
type manner struct {
	addend int  // The operand that result 0 starts from, −1 for none.
	bf16   bool // Factors are rounded to bf16.
}

// product chooses the kernel of a matrix product.
func (be *Backend) product(d op.Def, in, out []op.Shape, how manner) (backend.Kernel, error) {
	var k backend.Kernel
	switch d := d.(type) {
	case op.Linear:
		k.Bind = func(a backend.Args) func() error {
			g := &kernel.GemmArgs{M: rows(in[0]), K: last(in[0]), N: in[1][0], A: a.In[0], LDA: last(in[0]),
				B: a.In[1], LDB: in[1][1], TransB: true, C: a.Out[0], LDC: in[1][0], Bias: biasOf(a, in)}
			return be.gemm(g, a, how)
		}
	case op.LinearBackwardInput:
		k.Bind = func(a backend.Args) func() error {
			g := &kernel.GemmArgs{M: rows(in[1]), K: in[0][0], N: in[0][1], A: a.In[1], LDA: in[0][0],
				B: a.In[0], LDB: in[0][1], C: a.Out[0], LDC: in[0][1]}
			return be.gemm(g, a, how)
		}
	case op.LinearBackwardWeight:
		x, dy := in[0], in[1]
		k = be.weightGradient(dy, out, func(a backend.Args) func() error {
			g := &kernel.GemmArgs{M: last(dy), K: rows(dy), N: last(x), A: a.In[1], LDA: last(dy), TransA: true,
				B: a.In[0], LDB: last(x), C: a.Out[0], LDC: last(x)}
			return be.gemm(g, a, how)
		})
	case op.Conv2D:
		y, err := d.Infer(in)
		if err != nil {
			return k, err
		}
		k.Bind = func(a backend.Args) func() error {
			c := convArgs(d, in[0], in[1], y[0])
			c.X, c.Wt, c.Y, c.Bias = a.In[0], a.In[1], a.Out[0], biasOf(a, in)
			return be.convolve(c, a, how, (*kernel.Pool).ConvForward, forwardGemm)
		}
	case op.Conv2DBackwardInput:
		k.Bind = func(a backend.Args) func() error {
			c := convArgs(d.Conv, d.Input, in[0], in[1])
			c.X, c.Wt, c.Y = a.Out[0], a.In[0], a.In[1]
			return be.convolve(c, a, how, (*kernel.Pool).ConvDataGrad, dataGradGemm)
		}
	case op.Conv2DBackwardWeight:
		k = be.weightGradient(in[1], out, func(a backend.Args) func() error {
			c := convArgs(d.Conv, in[0], d.Weight, in[1])
			c.X, c.Wt, c.Y = a.In[0], a.Out[0], a.In[1]
			return be.convolve(c, a, how, (*kernel.Pool).ConvWeightGrad, weightGradGemm)
		})
	default:
		return k, fmt.Errorf("%s is no matrix product", d.Name())
	}
	if how.addend >= 0 {
		k.InPlace = []int{how.addend}
	}
	return k, nil
}

// biasOf is the third operand, if the product has one.
func biasOf(a backend.Args, in []op.Shape) []float32 {
	if len(in) == 3 {
		return a.In[2]
	}
	return nil
}

// gemm runs g after putting the addend where the result goes.
func (be *Backend) gemm(g *kernel.GemmArgs, a backend.Args, how manner) func() error {
	start := be.start(a, how.addend)
	g.Accumulate, g.BF16 = how.addend >= 0, how.bf16
	return func() error {
		start()
		be.pool.Gemm(g)
		return nil
	}
}

// start returns what must happen before a product that accumulates: nothing when it is in place of its addend.
func (be *Backend) start(a backend.Args, addend int) func() {
	if addend < 0 || &a.In[addend][0] == &a.Out[0][0] {
		return func() {}
	}
	src, dst := a.In[addend], a.Out[0]
	run := be.over(len(dst), 1, func(lo, hi int) { copy(dst[lo:hi], src[lo:hi]) })
	return func() { _ = run() }
}

func convArgs(c op.Conv2D, x, w, y op.Shape) *kernel.ConvArgs {
	return &kernel.ConvArgs{B: x[0], H: x[1], W: x[2], Cin: x[3], OH: y[1], OW: y[2], Cout: y[3],
		KH: w[0], KW: w[1], Stride: c.Stride, PadTop: c.PadTop, PadLeft: c.PadLeft}
}

// convolve runs a convolution's pass, as a plain matrix product where the kernel is 1×1.
func (be *Backend) convolve(c *kernel.ConvArgs, a backend.Args, how manner, pass func(*kernel.Pool, *kernel.ConvArgs), plain func(*kernel.ConvArgs) *kernel.GemmArgs) func() error {
	if c.KH == 1 && c.KW == 1 && c.Stride == 1 && c.OH == c.H && c.OW == c.W {
		return be.gemm(plain(c), a, how)
	}
	start := be.start(a, how.addend)
	c.Accumulate, c.BF16 = how.addend >= 0, how.bf16
	return func() error {
		start()
		pass(be.pool, c)
		return nil
	}
}

func forwardGemm(c *kernel.ConvArgs) *kernel.GemmArgs {
	return &kernel.GemmArgs{M: c.B * c.H * c.W, K: c.Cin, N: c.Cout, A: c.X, LDA: c.Cin, B: c.Wt, LDB: c.Cout, C: c.Y, LDC: c.Cout, Bias: c.Bias}
}

func dataGradGemm(c *kernel.ConvArgs) *kernel.GemmArgs {
	return &kernel.GemmArgs{M: c.B * c.H * c.W, K: c.Cout, N: c.Cin, A: c.Y, LDA: c.Cout, B: c.Wt, LDB: c.Cout, TransB: true, C: c.X, LDC: c.Cin}
}

func weightGradGemm(c *kernel.ConvArgs) *kernel.GemmArgs {
	return &kernel.GemmArgs{M: c.Cin, K: c.B * c.H * c.W, N: c.Cout, A: c.X, LDA: c.Cin, TransA: true, B: c.Y, LDB: c.Cout, C: c.Wt, LDC: c.Cout}
}

// weightGradient adds the bias' gradient, the sum of dy's rows, to a weight's one.
func (be *Backend) weightGradient(dy op.Shape, out []op.Shape, weight func(backend.Args) func() error) backend.Kernel {
	if len(out) < 2 || out[1] == nil {
		return backend.Kernel{Bind: weight}
	}
	n, c := rows(dy), last(dy)
	return backend.Kernel{Scratch: columnScratch(n, c), Bind: func(a backend.Args) func() error {
		run, sums := weight(a), be.columnSums(a.Out[1], a.In[1], n, c, a.Scratch)
		return func() error {
			sums()
			return run()
		}
	}}
}
