package op

import (
	"fmt"

	"gorgonia.org/gorgonia"
)

// Builder makes one expression graph. It is not for use by several goroutines.
type Builder struct {
	graph      *gorgonia.ExprGraph
	names      map[string]bool
	inputs     []Node
	params     []Node
	gradients  []Gradient
	pullbacks  map[Node][]Node // What each operator's SymDiff returned.
	scope      string
	nextID     uint32
	inBackward bool
}

// Gradient names the gradient of one input or parameter.
type Gradient struct{ Of, Node Node }

// NewBuilder returns an empty graph's builder.
func NewBuilder() *Builder {
	return &Builder{graph: gorgonia.NewGraph(), names: map[string]bool{}, pullbacks: map[Node][]Node{}}
}

// Graph is the gorgonia graph that b builds.
func (b *Builder) Graph() *gorgonia.ExprGraph { return b.graph }

// Inputs returns the inputs in the order they were made.
func (b *Builder) Inputs() []Node { return b.inputs }

// Params returns the parameters in the order they were made.
func (b *Builder) Params() []Node { return b.params }

// Gradients returns what Grad made, in the order asked for.
func (b *Builder) Gradients() []Gradient { return b.gradients }

// Input makes a value that is bound when the program runs. It panics with a NameError when the name
// is taken (gorgonia merges nodes of equal name) or a dimension is below 1.
func (b *Builder) Input(name string, shape ...int) Node {
	n := b.leaf(name, shape)
	b.inputs = append(b.inputs, n)
	return n
}

// Param makes a parameter, trainable or frozen; names are diffusers' names. It panics like Input.
func (b *Builder) Param(name string, shape ...int) Node {
	n := b.leaf(name, shape)
	b.params = append(b.params, n)
	return n
}

func (b *Builder) leaf(name string, shape Shape) Node {
	if name == "" || b.names[name] {
		panic(&NameError{Name: name, Rule: "must be given and not be taken"})
	}
	for _, d := range shape {
		if d < 1 {
			panic(&NameError{Name: name, Rule: fmt.Sprintf("every dimension must be at least 1, got shape %v", shape)})
		}
	}
	b.names[name] = true
	n := gorgonia.NewUniqueNode(gorgonia.WithType(typeOf(shape)), gorgonia.In(b.graph),
		gorgonia.WithName(name), gorgonia.WithShape(shape.Clone()...))
	return n
}

// Apply adds an operator to the graph and returns its result 0. It panics with a ShapeError when d
// refuses the operands' shapes: networks run under Build, which makes that an error.
func (b *Builder) Apply(d Def, in ...Node) Node {
	shapes := make([]Shape, len(in))
	for i, n := range in {
		if n == nil {
			panic(&ShapeError{Op: d.Name(), Scope: b.scope, Shapes: shapes, Rule: fmt.Sprintf("operand %d is missing", i)})
		}
		if n.Graph() != b.graph {
			panic(&ShapeError{Op: d.Name(), Scope: b.scope, Shapes: shapes, Rule: fmt.Sprintf("operand %d belongs to another graph", i)})
		}
		shapes[i] = n.Shape()
	}
	results, err := infer(d, shapes)
	if err != nil {
		panic(&ShapeError{Op: d.Name(), Scope: b.scope, Shapes: shapes, Rule: err.Error()})
	}
	b.nextID++
	o := &Op{Def: d, Results: results, Scope: b.scope, Backward: b.inBackward, id: b.nextID, arity: len(in), builder: b}
	n := gorgonia.NewUniqueNode(gorgonia.WithType(typeOf(results[0])), gorgonia.WithOp(o),
		gorgonia.WithChildren(append(gorgonia.Nodes(nil), in...)), gorgonia.In(b.graph), gorgonia.WithShape(results[0].Clone()...))
	if n.Op() != gorgonia.Op(o) {
		panic(fmt.Sprintf("invariant broken: gorgonia merged %s with %s", d.Name(), n.Op()))
	}
	return n
}

// infer runs d's shape rule behind the checks that every rule needs.
func infer(d Def, in []Shape) ([]Shape, error) {
	if a, ok := d.(interface{ Operands() (least, most int) }); ok {
		if least, most := a.Operands(); len(in) < least || len(in) > most {
			return nil, fmt.Errorf("takes %d to %d operands, got %d", least, most, len(in))
		}
	}
	out, err := d.Infer(in)
	if err != nil {
		return nil, err
	}
	for _, s := range out {
		for _, dim := range s {
			if dim < 1 {
				return nil, fmt.Errorf("the result would have shape %v", s)
			}
		}
	}
	return out, nil
}

// Pick names result Index of an operator with several results. It is never run: compile makes it
// a name for that result.
type Pick struct {
	Index int
	Shape Shape
}

// Name is "pick<i>".
func (p Pick) Name() string { return fmt.Sprintf("pick<%d>", p.Index) }

// Infer returns the picked result's shape.
func (p Pick) Infer([]Shape) ([]Shape, error) { return []Shape{p.Shape}, nil }

// Aux names result i of the operator that made n. It panics with a ShapeError when there is none.
func (b *Builder) Aux(n Node, i int) Node {
	o, ok := n.Op().(*Op)
	if !ok || i < 0 || i >= len(o.Results) {
		panic(&ShapeError{Op: fmt.Sprint(n.Op()), Scope: b.scope, Shapes: []Shape{n.Shape()}, Rule: fmt.Sprintf("has no result %d", i)})
	}
	if i == 0 {
		return n
	}
	return b.Apply(Pick{Index: i, Shape: o.Results[i]}, n)
}

// Scope appends name to the label of the operators made from here on, and returns what takes it off.
// Labels appear in errors and profiles.
func (b *Builder) Scope(name string) (restore func()) {
	old := b.scope
	switch {
	case b.scope == "":
		b.scope = name
	case name != "":
		b.scope += "." + name
	}
	return func() { b.scope = old }
}
