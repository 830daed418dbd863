package op

import (
	"fmt"
	"math"
)

// Attention is multi-head scaled dot-product attention; head h owns channels [h·d, (h+1)·d):
//
//	o_h = softmax(Scale · q_h·k_hᵀ) · v_h
//
// Operands: q [B,N,C], k [B,M,C], v [B,M,C]. Results: o [B,N,C]; the logarithm of each row's sum of
// exponentials [B,Heads,N], kept for the backward pass in place of the N×M probabilities.
// Scale 0 means 1/√d, d = C/Heads. Causal lets query i see keys 0…i only, and wants N = M.
type Attention struct {
	everyOperand
	Heads  int
	Causal bool
	Scale  float64
}

// Name is "attention<heads=h>".
func (a Attention) Name() string { return fmt.Sprintf("attention<heads=%d>", a.Heads) }

// Operands is three.
func (Attention) Operands() (int, int) { return 3, 3 }

// Infer is the shape rule above.
func (a Attention) Infer(in []Shape) ([]Shape, error) {
	q, k, v := in[0], in[1], in[2]
	switch {
	case len(q) != 3 || len(k) != 3 || !k.Eq(v):
		return nil, fmt.Errorf("wants q [B,N,C] and k, v [B,M,C]")
	case q[0] != k[0] || q[2] != k[2]:
		return nil, fmt.Errorf("q and k differ in batch or channels")
	case a.Heads < 1 || q[2]%a.Heads != 0:
		return nil, fmt.Errorf("%d channels do not divide into %d heads", q[2], a.Heads)
	case a.Causal && q[1] != k[1]:
		return nil, fmt.Errorf("causal attention wants as many keys as queries")
	}
	return []Shape{q, {q[0], a.Heads, q[1]}}, nil
}

// VJP uses AttentionBackward.
func (a Attention) VJP(b *Builder, in []Node, out, dout Node) []Node {
	dq := b.Apply(AttentionBackward{Attention: a}, in[0], in[1], in[2], out, b.Aux(out, 1), dout)
	return []Node{dq, b.Aux(dq, 1), b.Aux(dq, 2)}
}

// Factor is Scale with its default filled in, for c channels.
func (a Attention) Factor(c int) float64 {
	if a.Scale != 0 {
		return a.Scale
	}
	return 1 / math.Sqrt(float64(c/a.Heads))
}

// AttentionBackward is dq, dk and dv of Attention from q, k, v, o, the logarithms of the sums and do.
type AttentionBackward struct{ Attention Attention }

// Name is "attention.backward<heads=h>".
func (a AttentionBackward) Name() string {
	return fmt.Sprintf("attention.backward<heads=%d>", a.Attention.Heads)
}

// Infer returns the shapes of q, k and v.
func (AttentionBackward) Infer(in []Shape) ([]Shape, error) { return []Shape{in[0], in[1], in[2]}, nil }
