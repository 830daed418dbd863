package op

import (
	"errors"
	"fmt"
)

// ShapeError says that an operator was applied to shapes its rule refuses. It is a mistake of the
// network's code or of its config: Builder.Apply panics with it, and Build turns it into an error.
type ShapeError struct {
	Op     string  // The operator's name with its attributes.
	Scope  string  // Where in the network, empty at the top.
	Shapes []Shape // The operands' shapes.
	Rule   string  // What they break.
}

func (e *ShapeError) Error() string {
	at := ""
	if e.Scope != "" {
		at = e.Scope + ": "
	}
	return fmt.Sprintf("%s%s on shapes %v: %s", at, e.Op, e.Shapes, e.Rule)
}

// NameError says that a parameter or an input cannot be made under this name: gorgonia would merge
// it with another silently. Builder.Param and Builder.Input panic with it.
type NameError struct {
	Name string
	Rule string
}

func (e *NameError) Error() string { return fmt.Sprintf("graph name %q: %s", e.Name, e.Rule) }

// GradError says that a gradient cannot be built, and for which node.
type GradError struct {
	Node string
	Rule string
	Err  error // gorgonia's own error, if it had one.
}

func (e *GradError) Error() string {
	if e.Err != nil {
		return fmt.Sprintf("gradient of %s: %s: %v", e.Node, e.Rule, e.Err)
	}
	return fmt.Sprintf("gradient of %s: %s", e.Node, e.Rule)
}

func (e *GradError) Unwrap() error { return e.Err }

// Build runs f, which builds a part of a graph, and returns the ShapeError or NameError it
// panicked with. Any other panic passes through.
func Build(f func()) (err error) {
	defer func() {
		r := recover()
		if r == nil {
			return
		}
		e, ok := r.(error)
		var shape *ShapeError
		var name *NameError
		if !ok || !(errors.As(e, &shape) || errors.As(e, &name)) {
			panic(r)
		}
		err = e
	}()
	f()
	return nil
}
