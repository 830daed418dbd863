package op

import "fmt"

// Conv2D is the cross-correlation that deep learning calls convolution:
//
//	y[b,i,j,o] = bias[o] + Σ_{u,v,c} x[b, i·Stride+u−PadTop, j·Stride+v−PadLeft, c] · w[u,v,c,o]
//
// with zeros outside x. Operands: x [B,H,W,C], w [kh,kw,C,O], and, if there are three, bias [O].
// Result: y [B,H',W',O] with H' = (H+PadTop+PadBottom−kh)/Stride + 1, and W' alike.
type Conv2D struct {
	everyOperand
	Stride                               int
	PadTop, PadLeft, PadBottom, PadRight int
}

// Name is "conv2d<stride=s>".
func (c Conv2D) Name() string { return fmt.Sprintf("conv2d<stride=%d>", c.Stride) }

// Operands is two or three.
func (Conv2D) Operands() (int, int) { return 2, 3 }

// Infer is the shape rule above.
func (c Conv2D) Infer(in []Shape) ([]Shape, error) {
	x, w := in[0], in[1]
	switch {
	case len(x) != 4 || len(w) != 4:
		return nil, fmt.Errorf("wants x [B,H,W,C] and w [kh,kw,C,O]")
	case c.Stride < 1 || min(c.PadTop, c.PadLeft, c.PadBottom, c.PadRight) < 0:
		return nil, fmt.Errorf("stride must be at least 1 and padding at least 0, got %+v", c)
	case x[3] != w[2]:
		return nil, fmt.Errorf("x has %d channels, w wants %d", x[3], w[2])
	case len(in) == 3 && !in[2].Eq(Shape{w[3]}):
		return nil, fmt.Errorf("bias must be [%d]", w[3])
	}
	h := x[1] + c.PadTop + c.PadBottom - w[0]
	wd := x[2] + c.PadLeft + c.PadRight - w[1]
	if h < 0 || wd < 0 {
		return nil, fmt.Errorf("the kernel is larger than the padded input")
	}
	return []Shape{{x[0], h/c.Stride + 1, wd/c.Stride + 1, w[3]}}, nil
}

// VJP uses Conv2DBackwardInput and Conv2DBackwardWeight.
func (c Conv2D) VJP(b *Builder, in []Node, _, dout Node) []Node {
	dw := b.Apply(Conv2DBackwardWeight{Conv: c, Weight: in[1].Shape(), Bias: len(in) == 3}, in[0], dout)
	grads := []Node{b.Apply(Conv2DBackwardInput{Conv: c, Input: in[0].Shape()}, in[1], dout), dw}
	if len(in) == 3 {
		grads = append(grads, b.Aux(dw, 1))
	}
	return grads
}

// Conv2DBackwardInput is dx of Conv2D from w and dy.
type Conv2DBackwardInput struct {
	Conv  Conv2D
	Input Shape // Shape of x.
}

// Name is "conv2d.dx<stride=s>".
func (c Conv2DBackwardInput) Name() string { return fmt.Sprintf("conv2d.dx<stride=%d>", c.Conv.Stride) }

// Infer returns x's shape.
func (c Conv2DBackwardInput) Infer([]Shape) ([]Shape, error) { return []Shape{c.Input}, nil }

// Conv2DBackwardWeight is dw and, with Bias, the bias' gradient of Conv2D from x and dy.
type Conv2DBackwardWeight struct {
	Conv   Conv2D
	Weight Shape // Shape of w.
	Bias   bool
}

// Name is "conv2d.dw<stride=s>".
func (c Conv2DBackwardWeight) Name() string {
	return fmt.Sprintf("conv2d.dw<stride=%d>", c.Conv.Stride)
}

// Infer returns w's shape and the bias' one.
func (c Conv2DBackwardWeight) Infer([]Shape) ([]Shape, error) {
	if c.Bias {
		return []Shape{c.Weight, {c.Weight[3]}}, nil
	}
	return []Shape{c.Weight}, nil
}
