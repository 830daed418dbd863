package compile

import (
	"fmt"

	"yohaku/model/op"
)

// lower makes the program that computes outputs and grads, which must be nodes of b's graph.
func lower(b *op.Builder, outputs, grads []op.Node) (*program, error) {
	l := &lowering{p: &program{}, values: map[op.Node]int{}, makers: map[op.Node]*instruction{}, leaves: map[op.Node]kind{}}
	for _, n := range b.Inputs() {
		l.leaves[n] = input
	}
	for _, n := range b.Params() {
		l.leaves[n] = parameter
	}
	wanted := append(append([]op.Node(nil), outputs...), grads...)
	for i, n := range wanted {
		if n == nil || n.Graph() != b.Graph() {
			return nil, fmt.Errorf("lower: output or gradient %d is missing or of another graph", i)
		}
	}
	live := ancestors(wanted)
	for _, n := range b.Graph().AllNodes() {
		if !live[n] {
			continue
		}
		if err := l.node(n); err != nil {
			return nil, fmt.Errorf("lower: %w", err)
		}
	}
	l.results(b, outputs, grads)
	return l.p, nil
}

// ancestors are the nodes that wanted are computed from, and wanted themselves.
func ancestors(wanted []op.Node) map[op.Node]bool {
	live := map[op.Node]bool{}
	work := append([]op.Node(nil), wanted...)
	for len(work) > 0 {
		n := work[len(work)-1]
		work = work[:len(work)-1]
		if !live[n] {
			live[n] = true
			work = append(work, op.Children(n)...)
		}
	}
	return live
}

type lowering struct {
	p      *program
	values map[op.Node]int
	makers map[op.Node]*instruction // The instruction behind a node.
	leaves map[op.Node]kind
}

func (l *lowering) node(n op.Node) error {
	children := op.Children(n)
	operands := make([]int, len(children))
	for i, c := range children {
		v, ok := l.values[c]
		if !ok {
			return fmt.Errorf("%v is used before it is made", c)
		}
		operands[i] = v
	}
	if n.Op() == nil {
		k, ok := l.leaves[n]
		if !ok {
			return fmt.Errorf("leaf %q was not made by the Builder", n.Name())
		}
		l.values[n] = l.p.newValue(k, n.Shape(), n)
		return nil
	}
	o, ours := n.Op().(*op.Op)
	switch {
	case ours:
		l.operator(n, o, children, operands)
		return nil
	case op.IsSum(n):
		if s := children[0].Shape(); !s.Eq(children[1].Shape()) {
			return fmt.Errorf("gorgonia sums gradients of shapes %v and %v", s, children[1].Shape())
		}
		l.emit(n, &instruction{def: op.Add{}, operands: operands, shapes: []op.Shape{children[0].Shape()}, backward: true})
		return nil
	}
	if v := n.Value(); v != nil && len(children) == 0 {
		if f, ok := v.Data().(float32); ok {
			l.values[n] = l.p.newValue(constant, n.Shape(), n)
			l.p.store(l.values[n]).constant = f
			return nil
		}
	}
	return fmt.Errorf("gorgonia's own operator %s has no place in a program; make one in model/op", n.Op())
}

func (l *lowering) operator(n op.Node, o *op.Op, children []op.Node, operands []int) {
	switch d := o.Def.(type) {
	case op.Pick:
		maker := l.makers[children[0]]
		if maker.results[d.Index] < 0 {
			maker.results[d.Index] = l.p.newValue(temporary, d.Shape, n)
		}
		l.values[n] = maker.results[d.Index]
	case op.Reshape:
		l.values[n] = l.p.alias(operands[0], o.Results[0])
	default:
		l.emit(n, &instruction{def: o.Def, operands: operands, shapes: o.Results, scope: o.Scope, backward: o.Backward})
	}
}

func (l *lowering) emit(n op.Node, c *instruction) {
	c.results = make([]int, len(c.shapes))
	for i := range c.results {
		c.results[i] = -1
	}
	c.results[0] = l.p.newValue(temporary, c.shapes[0], n)
	l.values[n], l.makers[n] = c.results[0], c
	l.p.code = append(l.p.code, c)
}

// results marks the outputs, and matches the gradients with what they are gradients of.
func (l *lowering) results(b *op.Builder, outputs, grads []op.Node) {
	for _, n := range outputs {
		v := l.values[n]
		if s := l.p.store(v); s.kind == temporary {
			s.kind = output
		}
		l.p.outputs = append(l.p.outputs, v)
	}
	asked := map[op.Node]bool{}
	for _, n := range grads {
		asked[n] = true
	}
	for _, g := range b.Gradients() {
		if asked[g.Node] {
			l.p.grads = append(l.p.grads, gradient{of: g.Of, value: l.values[g.Node]})
		}
	}
}
