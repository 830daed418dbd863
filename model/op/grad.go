package op

import (
	"fmt"
	"strings"

	"gorgonia.org/gorgonia"
)

// Grad differentiates the scalar loss with respect to wrt (inputs or parameters) by gorgonia.Grad
// and returns the gradients in wrt's order. A Builder differentiates once: gorgonia keeps each
// node's derivative, so that a second call would silently return the first loss's gradients.
//
// It returns a GradError that names the node when the loss is no scalar, when a node of wrt is no
// leaf, is given twice or does not reach the loss, and when gorgonia merged two different sums.
func (b *Builder) Grad(loss Node, wrt ...Node) ([]Node, error) {
	if err := b.checkWrt(loss, wrt); err != nil {
		return nil, err
	}
	b.inBackward = true
	defer func() { b.inBackward = false }()
	var grads gorgonia.Nodes
	var err error
	if built := Build(func() { grads, err = gorgonia.Grad(loss, wrt...) }); built != nil {
		return nil, &GradError{Node: nodeName(loss), Rule: "a backward operator was refused", Err: built}
	}
	if err != nil {
		return nil, &GradError{Node: nodeName(loss), Rule: "gorgonia refused it", Err: err}
	}
	for i, w := range wrt {
		b.gradients = append(b.gradients, Gradient{Of: w, Node: grads[i]})
	}
	if err := b.checkSums(loss); err != nil {
		return nil, err
	}
	return grads, nil
}

func (b *Builder) checkWrt(loss Node, wrt []Node) error {
	switch {
	case len(b.gradients) > 0:
		return &GradError{Node: nodeName(loss), Rule: "a Builder differentiates once; build the graph again"}
	case loss.Shape().Dims() != 0:
		return &GradError{Node: nodeName(loss), Rule: fmt.Sprintf("the loss must be a scalar, got shape %v", loss.Shape())}
	case len(wrt) == 0:
		return &GradError{Node: nodeName(loss), Rule: "nothing to differentiate with respect to"}
	}
	reached := reach(loss)
	seen := map[Node]bool{}
	for _, w := range wrt {
		switch {
		case w.Op() != nil:
			return &GradError{Node: nodeName(w), Rule: "must be an input or a parameter"}
		case seen[w]:
			return &GradError{Node: nodeName(w), Rule: "given twice"}
		case !reached[w]:
			return &GradError{Node: nodeName(w), Rule: "does not reach the loss; leave it out of the trained parameters"}
		}
		seen[w] = true
	}
	return nil
}

// reach returns the nodes whose gradient the loss has.
func reach(loss Node) map[Node]bool {
	seen := map[Node]bool{loss: true}
	work := []Node{loss}
	for len(work) > 0 {
		n := work[len(work)-1]
		work = work[:len(work)-1]
		o, ok := n.Op().(gorgonia.SDOp)
		if !ok {
			continue
		}
		children := Children(n)
		for i, wanted := range o.DiffWRT(len(children)) {
			if c := children[i]; wanted && !seen[c] {
				seen[c] = true
				work = append(work, c)
			}
		}
	}
	return seen
}

// Children returns the operands of n in order.
func Children(n Node) []Node {
	if n.Op() == nil {
		return nil
	}
	it := n.Graph().From(n.ID())
	var r []Node
	for it.Next() {
		r = append(r, it.Node().(Node))
	}
	return r
}

// IsSum says whether n is one of the additions that gorgonia makes to sum gradients.
func IsSum(n Node) bool {
	if _, ours := n.Op().(*Op); ours || n.Op() == nil {
		return false
	}
	return strings.HasPrefix(n.Op().String(), "+ ")
}

// checkSums holds every node's gradient to the sum of what its users' SymDiff returned. gorgonia's
// own additions have no id, so that two different ones whose operands' hashes collide would be one.
func (b *Builder) checkSums(loss Node) error {
	terms := map[Node][]Node{}
	for user, grads := range b.pullbacks {
		for i, c := range Children(user) {
			if grads[i] != nil {
				terms[c] = append(terms[c], grads[i])
			}
		}
	}
	for n, want := range terms {
		sum := n.Deriv()
		if sum == nil || n == loss {
			continue // Not on a way from wrt to the loss.
		}
		left := map[Node]int{}
		for _, t := range want {
			left[t]++
		}
		for range len(want) - 1 {
			if !IsSum(sum) {
				return collision(n)
			}
			c := Children(sum)
			sum = c[0]
			left[c[1]]--
		}
		left[sum]--
		for _, count := range left {
			if count != 0 {
				return collision(n)
			}
		}
	}
	return nil
}

func collision(n Node) error {
	return &GradError{Node: nodeName(n), Rule: "gorgonia merged two different sums whose hashes collide; rename a parameter or change the order of building"}
}

func nodeName(n Node) string {
	if o, ok := n.Op().(*Op); ok && o.Scope != "" {
		return o.Scope + ": " + o.Name()
	}
	if n.Op() == nil {
		return n.Name()
	}
	return n.Op().String()
}
