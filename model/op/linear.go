package op

import "fmt"

// Linear is y = x·wᵀ + bias over the last axis. Operands: x [...,I], w [O,I], and, if there are
// three, bias [O]. Result: y [...,O].
type Linear struct{ everyOperand }

// Name is "linear".
func (Linear) Name() string { return "linear" }

// Operands is two or three.
func (Linear) Operands() (int, int) { return 2, 3 }

// Infer is the shape rule above.
func (Linear) Infer(in []Shape) ([]Shape, error) {
	x, w := in[0], in[1]
	switch {
	case len(x) < 1 || len(w) != 2:
		return nil, fmt.Errorf("wants x [...,I] and w [O,I]")
	case x[len(x)-1] != w[1]:
		return nil, fmt.Errorf("x has %d features, w wants %d", x[len(x)-1], w[1])
	case len(in) == 3 && !in[2].Eq(Shape{w[0]}):
		return nil, fmt.Errorf("bias must be [%d]", w[0])
	}
	return []Shape{withLast(x, w[0])}, nil
}

// VJP uses LinearBackwardInput and LinearBackwardWeight.
func (Linear) VJP(b *Builder, in []Node, _, dout Node) []Node {
	dw := b.Apply(LinearBackwardWeight{Bias: len(in) == 3}, in[0], dout)
	grads := []Node{b.Apply(LinearBackwardInput{}, in[1], dout), dw}
	if len(in) == 3 {
		grads = append(grads, b.Aux(dw, 1))
	}
	return grads
}

// LinearBackwardInput is dx = dy·w, from w [O,I] and dy [...,O].
type LinearBackwardInput struct{}

// Name is "linear.dx".
func (LinearBackwardInput) Name() string { return "linear.dx" }

// Infer returns [...,I].
func (LinearBackwardInput) Infer(in []Shape) ([]Shape, error) {
	return []Shape{withLast(in[1], in[0][1])}, nil
}

// LinearBackwardWeight is dw = dyᵀ·x and, with Bias, the sum of dy's rows, from x [...,I] and dy [...,O].
type LinearBackwardWeight struct{ Bias bool }

// Name is "linear.dw".
func (LinearBackwardWeight) Name() string { return "linear.dw" }

// Infer returns [O,I] and [O].
func (l LinearBackwardWeight) Infer(in []Shape) ([]Shape, error) {
	o, i := last(in[1]), last(in[0])
	if l.Bias {
		return []Shape{{o, i}, {o}}, nil
	}
	return []Shape{{o, i}}, nil
}

// last is the size of the last axis, 1 for a scalar.
func last(s Shape) int {
	if len(s) == 0 {
		return 1
	}
	return s[len(s)-1]
}

// withLast is s with another size of the last axis.
func withLast(s Shape, n int) Shape {
	r := s.Clone()
	r[len(r)-1] = n
	return r
}
