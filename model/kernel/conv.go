package kernel

import "fmt"

// ConvArgs describes a convolution of NHWC images by HWIO weights:
//
//	Y[b, oh, ow, co] = Bias[co] + Σ_{kh, kw, ci} X[b, oh·Stride+kh−PadTop, ow·Stride+kw−PadLeft, ci] · W[kh, kw, ci, co]
//
// where pixels outside the image are 0; the padding at the bottom and right follows from OH and OW.
// X is [B, H, W, Cin], Y is [B, OH, OW, Cout], Wt is [KH, KW, Cin, Cout], Bias is [Cout] or nil; all float32, dense.
//
// Each element is one chain of fused multiply-adds: over (kh, kw, ci) ascending forward, over kh and kw descending and co
// ascending for the gradient of the image, over (b, oh, ow) ascending for the gradient of the weights. Where winogradFits,
// which the shape of one image decides, the sums are those of winograd and winogradWeight.
type ConvArgs struct {
	B, H, W, Cin    int
	OH, OW, Cout    int
	KH, KW, Stride  int
	PadTop, PadLeft int
	X, Wt, Y, Bias  []float32
	Accumulate      bool // Add to the result instead of replacing it.
	BF16            bool // Round what is multiplied to bf16, where the convolution goes by tiles.
}

// ConvForward computes Y from X, Wt and Bias.
func (p *Pool) ConvForward(a *ConvArgs) { p.conv.forward(p, a) }

// ConvDataGrad computes X, the gradient of the image, from Y, the gradient of the result, and Wt. Bias is not used.
func (p *Pool) ConvDataGrad(a *ConvArgs) { p.conv.dataGrad(p, a) }

// ConvWeightGrad computes Wt, the gradient of the weights, from X and Y, the gradient of the result. Bias is not used.
func (p *Pool) ConvWeightGrad(a *ConvArgs) { p.conv.weightGrad(p, a) }

func (a *ConvArgs) check() {
	if a.B < 0 || a.H <= 0 || a.W <= 0 || a.Cin <= 0 || a.OH <= 0 || a.OW <= 0 || a.Cout <= 0 || a.KH <= 0 || a.KW <= 0 || a.Stride <= 0 {
		panic(fmt.Sprintf("kernel: convolution of [%d %d %d %d] to [%d %d %d %d], kernel %d×%d, stride %d: sizes must be positive",
			a.B, a.H, a.W, a.Cin, a.B, a.OH, a.OW, a.Cout, a.KH, a.KW, a.Stride))
	}
	checkLength("X", len(a.X), a.B*a.H*a.W*a.Cin)
	checkLength("Y", len(a.Y), a.B*a.OH*a.OW*a.Cout)
	checkLength("Wt", len(a.Wt), a.KH*a.KW*a.Cin*a.Cout)
	if a.Bias != nil {
		checkLength("Bias", len(a.Bias), a.Cout)
	}
}

func checkLength(name string, got, want int) {
	if got < want {
		panic(fmt.Sprintf("kernel: %s has %d elements, its shape needs %d", name, got, want))
	}
}

// convolution holds the sources of the convolution being computed.
type convolution struct {
	args    ConvArgs
	halo    haloConv
	pixels  pixelRows
	taps    tapRows
	weights turnedWeights
	tiles   winograd
	grads   winogradWeight
}

func (c *convolution) forward(p *Pool, a *ConvArgs) {
	a.check()
	c.args = *a
	if c.tilesForward(p) || c.haloForward(p) {
		return
	}
	g := &p.gemm
	g.use(active, false)
	c.pixels = pixelRows{args: &c.args}
	g.matrixB = matrix{data: a.Wt, ld: a.Cout}
	g.prepare(a.B*a.OH*a.OW, a.Cout, a.KH*a.KW*a.Cin, &c.pixels, &g.matrixB, a.Y, a.Cout)
	g.accumulate, g.bias = a.Accumulate, a.Bias
	c.run(p, g)
}

func (c *convolution) dataGrad(p *Pool, a *ConvArgs) {
	a.check()
	c.args = *a
	if c.tilesDataGrad(p) || c.haloDataGrad(p) {
		return
	}
	g := &p.gemm
	g.use(active, false)
	c.pixels = pixelRows{args: &c.args, back: true}
	c.weights = turnedWeights{args: &c.args}
	g.prepare(a.B*a.H*a.W, a.Cin, a.KH*a.KW*a.Cout, &c.pixels, &c.weights, a.X, a.Cin)
	g.accumulate = a.Accumulate
	c.run(p, g)
}

// tilesForward computes Y by tiles, if the shape suits that, and reports whether it did.
func (c *convolution) tilesForward(p *Pool) bool {
	a, w := &c.args, &c.tiles
	if !winogradFits(a) {
		return false
	}
	w.image, w.height, w.width, w.ch = a.X, a.H, a.W, a.Cin
	w.out, w.outH, w.outW, w.columns = a.Y, a.OH, a.OW, a.Cout
	w.top, w.left, w.accumulate, w.bias, w.weights, w.turned = a.PadTop, a.PadLeft, a.Accumulate, a.Bias, a.Wt, false
	return c.runTiles(p)
}

// tilesDataGrad computes X as the convolution of Y by the turned weights.
func (c *convolution) tilesDataGrad(p *Pool) bool {
	a, w := &c.args, &c.tiles
	if !winogradFits(a) {
		return false
	}
	w.image, w.height, w.width, w.ch = a.Y, a.OH, a.OW, a.Cout
	w.out, w.outH, w.outW, w.columns = a.X, a.H, a.W, a.Cin
	w.top, w.left, w.accumulate, w.bias, w.weights, w.turned = 2-a.PadTop, 2-a.PadLeft, a.Accumulate, nil, a.Wt, true
	return c.runTiles(p)
}

func (c *convolution) runTiles(p *Pool) bool {
	c.tiles.set, c.tiles.depth = arithmetic(active, c.args.BF16)
	c.tiles.run(p, c.args.B)
	c.args = ConvArgs{}
	return true
}

func (c *convolution) tilesWeightGrad(p *Pool) bool {
	if !winogradFits(&c.args) || c.args.B == 0 {
		return false
	}
	c.grads.set, c.grads.depth = arithmetic(active, c.args.BF16)
	c.grads.args = c.args
	c.grads.run(p)
	c.args = ConvArgs{}
	return true
}

// haloForward computes Y by a padded copy of X, if the shape suits that, and reports whether it did.
func (c *convolution) haloForward(p *Pool) bool {
	a, h := &c.args, &c.halo
	h.set, h.image, h.height, h.width, h.ch = active, a.X, a.H, a.W, a.Cin
	h.out, h.outH, h.outW, h.columns = a.Y, a.OH, a.OW, a.Cout
	h.kh, h.kw, h.stride, h.top, h.left = a.KH, a.KW, a.Stride, a.PadTop, a.PadLeft
	h.accumulate, h.bias = a.Accumulate, a.Bias
	p.gemm.matrixB = matrix{data: a.Wt, ld: a.Cout}
	h.weights = &p.gemm.matrixB
	return c.runHalo(p)
}

// haloDataGrad computes X, which for stride 1 is the convolution of Y by the turned weights.
func (c *convolution) haloDataGrad(p *Pool) bool {
	a, h := &c.args, &c.halo
	if a.Stride != 1 {
		return false
	}
	h.set, h.image, h.height, h.width, h.ch = active, a.Y, a.OH, a.OW, a.Cout
	h.out, h.outH, h.outW, h.columns = a.X, a.H, a.W, a.Cin
	h.kh, h.kw, h.stride, h.top, h.left = a.KH, a.KW, 1, a.KH-1-a.PadTop, a.KW-1-a.PadLeft
	h.accumulate, h.bias = a.Accumulate, nil
	c.weights = turnedWeights{args: a}
	h.weights = &c.weights
	return c.runHalo(p)
}

func (c *convolution) runHalo(p *Pool) bool {
	if c.args.B == 0 || !c.halo.fits() {
		return false
	}
	c.halo.run(p, c.args.B)
	c.args = ConvArgs{}
	return true
}

func (c *convolution) weightGrad(p *Pool, a *ConvArgs) {
	a.check()
	c.args = *a
	if c.tilesWeightGrad(p) {
		return
	}
	g := &p.gemm
	g.use(active, false)
	c.taps = tapRows{args: &c.args}
	g.matrixB = matrix{data: a.Y, ld: a.Cout}
	g.prepare(a.KH*a.KW*a.Cin, a.Cout, a.B*a.OH*a.OW, &c.taps, &g.matrixB, a.Wt, a.Cout)
	g.accumulate = a.Accumulate
	c.run(p, g)
}

func (c *convolution) run(p *Pool, g *product) {
	if g.m > 0 {
		g.compute(p)
	}
	c.args = ConvArgs{}
}
