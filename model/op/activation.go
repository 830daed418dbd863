package op

import "fmt"

// ActivationKind says which elementwise function.
type ActivationKind int

// The functions, with Φ the normal distribution function and σ the logistic one.
const (
	KindSiLU      ActivationKind = iota // x·σ(x)
	KindGELU                            // x·Φ(x), exact
	KindQuickGELU                       // x·σ(1.702·x)
)

// String names the function.
func (k ActivationKind) String() string { return [...]string{"silu", "gelu", "quickgelu"}[k] }

// Activation is a Def that is an elementwise function of one operand.
type Activation interface {
	Differentiable
	Kind() ActivationKind
}

// unary is the shape rule of the activations.
type unary struct{ everyOperand }

// Operands is one.
func (unary) Operands() (int, int) { return 1, 1 }

// Infer returns the operand's shape.
func (unary) Infer(in []Shape) ([]Shape, error) { return []Shape{in[0]}, nil }

// SiLU is x·σ(x).
type SiLU struct{ unary }

// Kind is KindSiLU.
func (SiLU) Kind() ActivationKind { return KindSiLU }

// Name is "silu".
func (SiLU) Name() string { return "silu" }

// VJP uses ActivationBackward.
func (s SiLU) VJP(b *Builder, in []Node, _, dout Node) []Node { return activationVJP(b, s, in, dout) }

// GELU is x·Φ(x) with the exact normal distribution function.
type GELU struct{ unary }

// Kind is KindGELU.
func (GELU) Kind() ActivationKind { return KindGELU }

// Name is "gelu".
func (GELU) Name() string { return "gelu" }

// VJP uses ActivationBackward.
func (g GELU) VJP(b *Builder, in []Node, _, dout Node) []Node { return activationVJP(b, g, in, dout) }

// QuickGELU is x·σ(1.702·x).
type QuickGELU struct{ unary }

// Kind is KindQuickGELU.
func (QuickGELU) Kind() ActivationKind { return KindQuickGELU }

// Name is "quickgelu".
func (QuickGELU) Name() string { return "quickgelu" }

// VJP uses ActivationBackward.
func (q QuickGELU) VJP(b *Builder, in []Node, _, dout Node) []Node {
	return activationVJP(b, q, in, dout)
}

func activationVJP(b *Builder, a Activation, in []Node, dout Node) []Node {
	return []Node{b.Apply(ActivationBackward{Kind: a.Kind()}, in[0], dout)}
}

// ActivationBackward is dx of an activation from x and dy.
type ActivationBackward struct{ Kind ActivationKind }

// Name is the function's name and ".backward".
func (a ActivationBackward) Name() string { return a.Kind.String() + ".backward" }

// Infer returns x's shape.
func (ActivationBackward) Infer(in []Shape) ([]Shape, error) { return []Shape{in[0]}, nil }

// GEGLU is the gated unit y = a · gelu(g) with a the first and g the second half of the last axis,
// gelu exact. Operand: x [...,2C]. Result: y [...,C]. Source: diffusers models/activations.py.
type GEGLU struct{ everyOperand }

// Name is "geglu".
func (GEGLU) Name() string { return "geglu" }

// Operands is one.
func (GEGLU) Operands() (int, int) { return 1, 1 }

// Infer halves the last axis.
func (GEGLU) Infer(in []Shape) ([]Shape, error) {
	if len(in[0]) == 0 || last(in[0])%2 != 0 {
		return nil, fmt.Errorf("the last axis must be even")
	}
	return []Shape{withLast(in[0], last(in[0])/2)}, nil
}

// VJP uses GEGLUBackward.
func (GEGLU) VJP(b *Builder, in []Node, _, dout Node) []Node {
	return []Node{b.Apply(GEGLUBackward{}, in[0], dout)}
}

// GEGLUBackward is dx of GEGLU from x and dy.
type GEGLUBackward struct{}

// Name is "geglu.backward".
func (GEGLUBackward) Name() string { return "geglu.backward" }

// Infer returns x's shape.
func (GEGLUBackward) Infer(in []Shape) ([]Shape, error) { return []Shape{in[0]}, nil }
