package op

import "fmt"

// Add is x + y of equal shapes.
type Add struct{ everyOperand }

// Name is "add".
func (Add) Name() string { return "add" }

// Operands is two.
func (Add) Operands() (int, int) { return 2, 2 }

// Infer returns the common shape.
func (Add) Infer(in []Shape) ([]Shape, error) {
	if !in[0].Eq(in[1]) {
		return nil, fmt.Errorf("the shapes must be equal")
	}
	return []Shape{in[0]}, nil
}

// VJP passes the gradient to both.
func (Add) VJP(_ *Builder, _ []Node, _, dout Node) []Node { return []Node{dout, dout} }

// AddBroadcast is x[b,...,c] + t[b,c]: a vector per sample added at every position.
// Operands: x [B,...,C], t [B,C].
type AddBroadcast struct{ everyOperand }

// Name is "add.broadcast".
func (AddBroadcast) Name() string { return "add.broadcast" }

// Operands is two.
func (AddBroadcast) Operands() (int, int) { return 2, 2 }

// Infer returns x's shape.
func (AddBroadcast) Infer(in []Shape) ([]Shape, error) {
	x := in[0]
	if len(x) < 2 || !in[1].Eq(Shape{x[0], last(x)}) {
		return nil, fmt.Errorf("wants x [B,...,C] and t [B,C]")
	}
	return []Shape{x}, nil
}

// VJP passes the gradient to x and its sum over positions to t.
func (AddBroadcast) VJP(b *Builder, _ []Node, _, dout Node) []Node {
	return []Node{dout, b.Apply(SumPositions{}, dout)}
}

// SumPositions sums x [B,...,C] over the axes between: [B,C]. It is AddBroadcast's gradient.
type SumPositions struct{}

// Name is "sum.positions".
func (SumPositions) Name() string { return "sum.positions" }

// Infer returns [B,C].
func (SumPositions) Infer(in []Shape) ([]Shape, error) { return []Shape{{in[0][0], last(in[0])}}, nil }

// AddPosition is x[b,n,c] + p[n,c]: a table added to every sample. Operands: x [B,N,C], p [N,C].
type AddPosition struct{ everyOperand }

// Name is "add.position".
func (AddPosition) Name() string { return "add.position" }

// Operands is two.
func (AddPosition) Operands() (int, int) { return 2, 2 }

// Infer returns x's shape.
func (AddPosition) Infer(in []Shape) ([]Shape, error) {
	if len(in[0]) < 2 || !in[1].Eq(in[0][1:]) {
		return nil, fmt.Errorf("wants x [B,...] and p [...]")
	}
	return []Shape{in[0]}, nil
}

// VJP passes the gradient to x and its sum over the batch to p.
func (AddPosition) VJP(b *Builder, _ []Node, _, dout Node) []Node {
	return []Node{dout, b.Apply(SumBatch{}, dout)}
}

// SumBatch sums x [B,...] over the first axis. It is AddPosition's gradient.
type SumBatch struct{}

// Name is "sum.batch".
func (SumBatch) Name() string { return "sum.batch" }

// Infer drops the first axis.
func (SumBatch) Infer(in []Shape) ([]Shape, error) { return []Shape{in[0][1:].Clone()}, nil }

// Scale is By·x.
type Scale struct {
	everyOperand
	By float64
}

// Name is "scale<by>".
func (s Scale) Name() string { return fmt.Sprintf("scale<%g>", s.By) }

// Operands is one.
func (Scale) Operands() (int, int) { return 1, 1 }

// Infer returns x's shape.
func (Scale) Infer(in []Shape) ([]Shape, error) { return []Shape{in[0]}, nil }

// VJP scales the gradient.
func (s Scale) VJP(b *Builder, _ []Node, _, dout Node) []Node { return []Node{b.Apply(s, dout)} }

// Sum is the sum of all elements, a scalar.
type Sum struct{ everyOperand }

// Name is "sum".
func (Sum) Name() string { return "sum" }

// Operands is one.
func (Sum) Operands() (int, int) { return 1, 1 }

// Infer returns the scalar shape.
func (Sum) Infer([]Shape) ([]Shape, error) { return []Shape{{}}, nil }

// VJP fills x's shape with the gradient.
func (Sum) VJP(b *Builder, in []Node, _, dout Node) []Node {
	return []Node{b.Apply(Fill{Shape: in[0].Shape(), By: 1}, dout)}
}

// Mean is the mean of all elements, a scalar.
type Mean struct{ everyOperand }

// Name is "mean".
func (Mean) Name() string { return "mean" }

// Operands is one.
func (Mean) Operands() (int, int) { return 1, 1 }

// Infer returns the scalar shape.
func (Mean) Infer([]Shape) ([]Shape, error) { return []Shape{{}}, nil }

// VJP fills x's shape with the gradient over the number of elements.
func (Mean) VJP(b *Builder, in []Node, _, dout Node) []Node {
	return []Node{b.Apply(Fill{Shape: in[0].Shape(), By: 1 / float64(in[0].Shape().TotalSize())}, dout)}
}

// Fill is By times a scalar, in every element of Shape.
type Fill struct {
	Shape Shape
	By    float64
}

// Name is "fill".
func (Fill) Name() string { return "fill" }

// Infer returns Shape.
func (f Fill) Infer([]Shape) ([]Shape, error) { return []Shape{f.Shape}, nil }
