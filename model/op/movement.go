package op

import "fmt"

// Reshape is the same elements under another shape; it costs nothing in the program.
type Reshape struct {
	everyOperand
	Shape Shape
}

// Name is "reshape".
func (Reshape) Name() string { return "reshape" }

// Operands is one.
func (Reshape) Operands() (int, int) { return 1, 1 }

// Infer returns Shape when the number of elements is the same.
func (r Reshape) Infer(in []Shape) ([]Shape, error) {
	if r.Shape.TotalSize() != in[0].TotalSize() {
		return nil, fmt.Errorf("%v has %d elements, %v has %d", in[0], in[0].TotalSize(), r.Shape, r.Shape.TotalSize())
	}
	return []Shape{r.Shape}, nil
}

// VJP reshapes back.
func (Reshape) VJP(b *Builder, in []Node, _, dout Node) []Node {
	return []Node{b.Apply(Reshape{Shape: in[0].Shape()}, dout)}
}

// ToNHWC turns x [B,C,H,W] into [B,H,W,C].
type ToNHWC struct{ everyOperand }

// Name is "to.nhwc".
func (ToNHWC) Name() string { return "to.nhwc" }

// Operands is one.
func (ToNHWC) Operands() (int, int) { return 1, 1 }

// Infer is the rule above.
func (ToNHWC) Infer(in []Shape) ([]Shape, error) {
	if len(in[0]) != 4 {
		return nil, fmt.Errorf("wants [B,C,H,W]")
	}
	return []Shape{{in[0][0], in[0][2], in[0][3], in[0][1]}}, nil
}

// VJP turns it back.
func (ToNHWC) VJP(b *Builder, _ []Node, _, dout Node) []Node { return []Node{b.Apply(ToNCHW{}, dout)} }

// ToNCHW turns x [B,H,W,C] into [B,C,H,W].
type ToNCHW struct{ everyOperand }

// Name is "to.nchw".
func (ToNCHW) Name() string { return "to.nchw" }

// Operands is one.
func (ToNCHW) Operands() (int, int) { return 1, 1 }

// Infer is the rule above.
func (ToNCHW) Infer(in []Shape) ([]Shape, error) {
	if len(in[0]) != 4 {
		return nil, fmt.Errorf("wants [B,H,W,C]")
	}
	return []Shape{{in[0][0], in[0][3], in[0][1], in[0][2]}}, nil
}

// VJP turns it back.
func (ToNCHW) VJP(b *Builder, _ []Node, _, dout Node) []Node { return []Node{b.Apply(ToNHWC{}, dout)} }

// Upsample2x repeats each pixel of x [B,H,W,C] twice along both axes: [B,2H,2W,C].
type Upsample2x struct{ everyOperand }

// Name is "upsample2x".
func (Upsample2x) Name() string { return "upsample2x" }

// Operands is one.
func (Upsample2x) Operands() (int, int) { return 1, 1 }

// Infer is the rule above.
func (Upsample2x) Infer(in []Shape) ([]Shape, error) {
	if len(in[0]) != 4 {
		return nil, fmt.Errorf("wants [B,H,W,C]")
	}
	x := in[0]
	return []Shape{{x[0], 2 * x[1], 2 * x[2], x[3]}}, nil
}

// VJP sums each 2×2 square.
func (Upsample2x) VJP(b *Builder, _ []Node, _, dout Node) []Node {
	return []Node{b.Apply(Upsample2xBackward{}, dout)}
}

// Upsample2xBackward sums each 2×2 square of dy [B,2H,2W,C]: [B,H,W,C].
type Upsample2xBackward struct{}

// Name is "upsample2x.backward".
func (Upsample2xBackward) Name() string { return "upsample2x.backward" }

// Infer is the rule above.
func (Upsample2xBackward) Infer(in []Shape) ([]Shape, error) {
	x := in[0]
	return []Shape{{x[0], x[1] / 2, x[2] / 2, x[3]}}, nil
}

// Concat joins two values along the last axis: [...,C1], [...,C2] → [...,C1+C2].
type Concat struct{ everyOperand }

// Name is "concat".
func (Concat) Name() string { return "concat" }

// Operands is two.
func (Concat) Operands() (int, int) { return 2, 2 }

// Infer is the rule above.
func (Concat) Infer(in []Shape) ([]Shape, error) {
	x, y := in[0], in[1]
	if len(x) == 0 || len(x) != len(y) || !withLast(x, last(y)).Eq(y) {
		return nil, fmt.Errorf("all axes but the last must be equal")
	}
	return []Shape{withLast(x, last(x)+last(y))}, nil
}

// VJP splits the gradient.
func (Concat) VJP(b *Builder, in []Node, _, dout Node) []Node {
	d := b.Apply(Split{At: last(in[0].Shape())}, dout)
	return []Node{d, b.Aux(d, 1)}
}

// Split cuts x [...,C] into [...,At] and [...,C−At]. It is Concat's gradient and has none itself
// (the forward pass uses Slice).
type Split struct{ At int }

// Name is "split".
func (Split) Name() string { return "split" }

// Infer is the rule above.
func (s Split) Infer(in []Shape) ([]Shape, error) {
	return []Shape{withLast(in[0], s.At), withLast(in[0], last(in[0])-s.At)}, nil
}

// Slice is channels [From, To) of x [...,C].
type Slice struct {
	everyOperand
	From, To int
}

// Name is "slice".
func (Slice) Name() string { return "slice" }

// Operands is one.
func (Slice) Operands() (int, int) { return 1, 1 }

// Infer returns [...,To−From].
func (s Slice) Infer(in []Shape) ([]Shape, error) {
	if len(in[0]) == 0 || s.From < 0 || s.From >= s.To || s.To > last(in[0]) {
		return nil, fmt.Errorf("[%d,%d) is not within the last axis", s.From, s.To)
	}
	return []Shape{withLast(in[0], s.To-s.From)}, nil
}

// VJP puts the gradient among zeros.
func (s Slice) VJP(b *Builder, in []Node, _, dout Node) []Node {
	return []Node{b.Apply(SliceBackward{From: s.From, Channels: last(in[0].Shape())}, dout)}
}

// SliceBackward puts dy [...,n] at channel From of a [...,Channels] that is otherwise zero.
type SliceBackward struct{ From, Channels int }

// Name is "slice.backward".
func (SliceBackward) Name() string { return "slice.backward" }

// Infer returns [...,Channels].
func (s SliceBackward) Infer(in []Shape) ([]Shape, error) {
	return []Shape{withLast(in[0], s.Channels)}, nil
}
