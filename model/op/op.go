package op

import (
	"encoding/binary"
	"fmt"
	"hash"

	"github.com/chewxy/hm"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	// gorgonia's tensor selects a version of this that panics on new Go releases; this one does not.
	_ "go4.org/unsafe/assume-no-moving-gc"
)

// Node is a value in the expression graph.
type Node = *gorgonia.Node

// Shape is a list of dimensions; the empty shape is a scalar.
type Shape = tensor.Shape

// Def is an operator: attributes only, no state.
type Def interface {
	// Name is the kind and the attributes that matter to a reader: "conv2d<stride=2>".
	Name() string
	// Infer returns the shapes of all results, or an error that says which rule in breaks. Result 0
	// is the node's own value, the others are reached by Builder.Aux.
	Infer(in []Shape) ([]Shape, error)
}

// Differentiable is a Def with a symbolic gradient.
type Differentiable interface {
	Def
	// Wrt says for each of n operands whether there is a gradient to it.
	Wrt(n int) []bool
	// VJP returns the gradient of each operand (nil where Wrt says no), given the operands, the result
	// and the result's gradient, by applying operators through b.
	VJP(b *Builder, in []Node, out, dout Node) []Node
}

// Op adapts a Def to gorgonia's Op and SDOp.
type Op struct {
	Def
	Results  []Shape // Shapes of all results.
	Scope    string  // Where in the network it was made; a backward operator has its forward one's.
	Backward bool    // Made by differentiation.

	id      uint32 // Unique within the Builder.
	arity   int
	builder *Builder
}

var _ gorgonia.SDOp = (*Op)(nil)

// Arity is the number of operands.
func (o *Op) Arity() int { return o.arity }

// Type is built anew on each call, since gorgonia takes it apart, and avoids the type variable 'b',
// which gorgonia's inference uses itself.
func (o *Op) Type() hm.Type {
	types := make([]hm.Type, 0, o.arity+1)
	for i := range o.arity {
		types = append(types, hm.TypeVariable('c'+rune(i)))
	}
	return hm.NewFnType(append(types, typeOf(o.Results[0]))...)
}

// InferShape returns the shape found when the node was applied.
func (o *Op) InferShape(...gorgonia.DimSizer) (tensor.Shape, error) { return o.Results[0], nil }

// Do always fails: operators run only in a compiled program.
func (o *Op) Do(...gorgonia.Value) (gorgonia.Value, error) {
	return nil, fmt.Errorf("run %s: operators run only in a compiled program", o.Name())
}

// ReturnsPtr is for gorgonia's machines, which are not used.
func (o *Op) ReturnsPtr() bool { return false }

// CallsExtern is for gorgonia's machines, which are not used.
func (o *Op) CallsExtern() bool { return false }

// OverwritesInput is for gorgonia's machines, which are not used.
func (o *Op) OverwritesInput() int { return -1 }

// Hashcode is the operator's id: gorgonia takes nodes of equal hash for one node.
func (o *Op) Hashcode() uint32 { return o.id }

// WriteHash writes the id.
func (o *Op) WriteHash(h hash.Hash) {
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], o.id)
	h.Write(b[:])
}

// String is the Def's name.
func (o *Op) String() string { return o.Name() }

// DiffWRT says for each of n operands whether it has a gradient.
func (o *Op) DiffWRT(n int) []bool {
	if d, ok := o.Def.(Differentiable); ok {
		return d.Wrt(n)
	}
	return make([]bool, n)
}

// SymDiff builds the operands' gradients and keeps them for the Builder's check of the result.
func (o *Op) SymDiff(in gorgonia.Nodes, out, dout *gorgonia.Node) (gorgonia.Nodes, error) {
	d, ok := o.Def.(Differentiable)
	if !ok {
		return nil, &GradError{Node: o.Name(), Rule: "the operator has no gradient"}
	}
	restore := o.builder.Scope("")
	o.builder.scope = o.Scope
	grads := d.VJP(o.builder, in, out, dout)
	restore()
	if err := o.checkGrads(in, d.Wrt(len(in)), grads); err != nil {
		return nil, err
	}
	o.builder.pullbacks[out] = grads
	return grads, nil
}

// checkGrads holds a VJP to its promise; gorgonia would follow a nil or sum unlike shapes.
func (o *Op) checkGrads(in []Node, wrt []bool, grads []Node) error {
	if len(grads) != len(in) {
		return &GradError{Node: o.Name(), Rule: fmt.Sprintf("%d gradients for %d operands", len(grads), len(in))}
	}
	for i, want := range wrt {
		if !want {
			grads[i] = nil
			continue
		}
		if grads[i] == nil {
			return &GradError{Node: o.Name(), Rule: fmt.Sprintf("operand %d has no gradient", i)}
		}
		if !grads[i].Shape().Eq(in[i].Shape()) {
			return &GradError{Node: o.Name(), Rule: fmt.Sprintf("operand %d has shape %v but its gradient %v", i, in[i].Shape(), grads[i].Shape())}
		}
	}
	return nil
}

// typeOf is the gorgonia type of a float32 value of shape s.
func typeOf(s Shape) hm.Type {
	if s.Dims() == 0 {
		return tensor.Float32
	}
	return gorgonia.TensorType{Dims: s.Dims(), Of: tensor.Float32}
}

// everyOperand is embedded in the Defs that have a gradient to all their operands.
type everyOperand struct{}

// Wrt returns n times true.
func (everyOperand) Wrt(n int) []bool {
	r := make([]bool, n)
	for i := range r {
		r[i] = true
	}
	return r
}

// firstOperand is embedded in the Defs that have a gradient to their first operand only.
type firstOperand struct{}

// Wrt returns true for the first of n.
func (firstOperand) Wrt(n int) []bool {
	r := make([]bool, n)
	r[0] = true
	return r
}
