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

// BF16 is an instruction that package compile makes in mixed precision: Product, a convolution or a linear, forward or
// backward, or an attention, with its factors rounded to bf16. Sums, biases, and an operand that is added stay float32.
type BF16 struct{ Product op.Def }

// Name is "bf16." and the product's name.
func (b BF16) Name() string { return "bf16." + b.Product.Name() }

// Infer always fails: the precision is chosen after shapes are known.
func (b BF16) Infer([]op.Shape) ([]op.Shape, error) {
	return nil, fmt.Errorf("%s exists only in a program", b.Name())
}
