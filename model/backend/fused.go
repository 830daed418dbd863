package backend

import (
	"fmt"

	"yohaku/model/op"
)

// Accumulate is an instruction that package compile makes by fusion: result 0 is Product's plus one
// more operand, the last. Product is a convolution or a linear, forward or backward. The kernel adds
// to what it finds in its result, best in place of that operand.
type Accumulate struct{ Product op.Def }

// Name is the product's name and "+add".
func (a Accumulate) Name() string { return a.Product.Name() + "+add" }

// Infer always fails: fusion comes after shapes are known.
func (a Accumulate) Infer([]op.Shape) ([]op.Shape, error) {
	return nil, fmt.Errorf("%s exists only in a program", a.Name())
}
