package op

import "fmt"

// Repeat is x [B,...] Times times along the first axis: [Times·B,...], all of x, then all of it again. A pair's winner and
// loser share what was computed once for both.
type Repeat struct {
	everyOperand
	Times int
}

// Name is "repeat<times>".
func (r Repeat) Name() string { return fmt.Sprintf("repeat<%d>", r.Times) }

// Operands is one.
func (Repeat) Operands() (int, int) { return 1, 1 }

// Infer is the rule above.
func (r Repeat) Infer(in []Shape) ([]Shape, error) {
	if len(in[0]) < 1 || r.Times < 1 {
		return nil, fmt.Errorf("wants [B,...] and to repeat it at least once")
	}
	s := in[0].Clone()
	s[0] *= r.Times
	return []Shape{s}, nil
}

// VJP sums the gradients of the repetitions.
func (r Repeat) VJP(b *Builder, _ []Node, _, dout Node) []Node {
	return []Node{b.Apply(RepeatBackward{Times: r.Times}, dout)}
}

// RepeatBackward sums the Times parts of dy [Times·B,...], in order: [B,...].
type RepeatBackward struct {
	Times int
}

// Name is "repeat.backward<times>".
func (r RepeatBackward) Name() string { return fmt.Sprintf("repeat.backward<%d>", r.Times) }

// Infer is the rule above.
func (r RepeatBackward) Infer(in []Shape) ([]Shape, error) {
	s := in[0].Clone()
	s[0] /= r.Times
	return []Shape{s}, nil
}
