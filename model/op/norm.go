package op

import "fmt"

// GroupNorm normalizes each of Groups runs of channels over all positions of a sample, scales and
// shifts by channel, and, with SiLU, applies h·σ(h):
//
//	h = (x − mean)/√(var + Eps) · gamma + beta
//
// with the biased variance. Operands: x [B,...,C], gamma [C], beta [C]. Results: y as x; the
// statistics [B,Groups,2] (mean, 1/√(var+Eps)).
type GroupNorm struct {
	everyOperand
	Groups int
	Eps    float64
	SiLU   bool
}

// Name is "groupnorm" or "groupnorm+silu".
func (g GroupNorm) Name() string {
	if g.SiLU {
		return "groupnorm+silu"
	}
	return "groupnorm"
}

// Operands is three.
func (GroupNorm) Operands() (int, int) { return 3, 3 }

// Infer is the shape rule above.
func (g GroupNorm) Infer(in []Shape) ([]Shape, error) {
	x := in[0]
	switch {
	case len(x) < 2:
		return nil, fmt.Errorf("wants x [B,...,C]")
	case g.Groups < 1 || last(x)%g.Groups != 0:
		return nil, fmt.Errorf("%d channels do not divide into %d groups", last(x), g.Groups)
	case !in[1].Eq(Shape{last(x)}) || !in[2].Eq(Shape{last(x)}):
		return nil, fmt.Errorf("gamma and beta must be [%d]", last(x))
	}
	return []Shape{x, {x[0], g.Groups, 2}}, nil
}

// VJP uses GroupNormBackward.
func (g GroupNorm) VJP(b *Builder, in []Node, out, dout Node) []Node {
	dx := b.Apply(GroupNormBackward{Norm: g}, in[0], in[1], in[2], b.Aux(out, 1), dout)
	return []Node{dx, b.Aux(dx, 1), b.Aux(dx, 2)}
}

// GroupNormBackward is dx, dgamma and dbeta of GroupNorm from x, gamma, beta, statistics and dy.
type GroupNormBackward struct{ Norm GroupNorm }

// Name is "groupnorm.backward" or "groupnorm+silu.backward".
func (g GroupNormBackward) Name() string { return g.Norm.Name() + ".backward" }

// Infer returns the shapes of x, gamma and beta.
func (GroupNormBackward) Infer(in []Shape) ([]Shape, error) { return []Shape{in[0], in[1], in[2]}, nil }

// LayerNorm is (x − mean)/√(var + Eps) · gamma + beta over the last axis, with the biased variance.
// Operands: x [...,C], gamma [C], beta [C]. Results: y as x; the statistics [rows,2] (mean, 1/√(var+Eps)).
type LayerNorm struct {
	everyOperand
	Eps float64
}

// Name is "layernorm".
func (LayerNorm) Name() string { return "layernorm" }

// Operands is three.
func (LayerNorm) Operands() (int, int) { return 3, 3 }

// Infer is the shape rule above.
func (LayerNorm) Infer(in []Shape) ([]Shape, error) {
	x := in[0]
	switch {
	case len(x) < 1:
		return nil, fmt.Errorf("wants x [...,C]")
	case !in[1].Eq(Shape{last(x)}) || !in[2].Eq(Shape{last(x)}):
		return nil, fmt.Errorf("gamma and beta must be [%d]", last(x))
	}
	return []Shape{x, {x.TotalSize() / last(x), 2}}, nil
}

// VJP uses LayerNormBackward.
func (l LayerNorm) VJP(b *Builder, in []Node, out, dout Node) []Node {
	dx := b.Apply(LayerNormBackward{}, in[0], in[1], b.Aux(out, 1), dout)
	return []Node{dx, b.Aux(dx, 1), b.Aux(dx, 2)}
}

// LayerNormBackward is dx, dgamma and dbeta of LayerNorm from x, gamma, statistics and dy.
type LayerNormBackward struct{}

// Name is "layernorm.backward".
func (LayerNormBackward) Name() string { return "layernorm.backward" }

// Infer returns the shapes of x, gamma and beta.
func (LayerNormBackward) Infer(in []Shape) ([]Shape, error) { return []Shape{in[0], in[1], in[1]}, nil }
