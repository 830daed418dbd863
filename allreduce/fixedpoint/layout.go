package fixedpoint

import "yohaku/internal/assert"

// BlockElements is the number of elements that share one exponent. A tensor's last block may be shorter.
const BlockElements = 1024

// Tensor is the place of one tensor in a slab of elements and in its table of blocks.
type Tensor struct {
	Offset, Len   int // Elements.
	Block, Blocks int // Blocks.
}

// Layout is the block table of tensors that lie one after the other in one slab, usually in the
// order in which the backward pass makes their gradients. It does not change once made.
type Layout struct {
	tensors []Tensor
	starts  []int // First element of each block, then the number of elements.
}

// NewLayout lays out tensors of the given lengths (elements). A negative length is a bug and panics.
func NewLayout(lens []int) *Layout {
	l := &Layout{tensors: make([]Tensor, len(lens))}
	elements, blocks := 0, 0
	for i, n := range lens {
		assert.That(n >= 0, "length of tensor %d is %d", i, n)
		l.tensors[i] = Tensor{Offset: elements, Len: n, Block: blocks, Blocks: Blocks(n)}
		elements += n
		blocks += Blocks(n)
	}
	l.starts = make([]int, 0, blocks+1)
	for _, t := range l.tensors {
		for at := 0; at < t.Len; at += BlockElements {
			l.starts = append(l.starts, t.Offset+at)
		}
	}
	l.starts = append(l.starts, elements)
	return l
}

// Blocks returns the number of blocks of a tensor of n elements.
func Blocks(n int) int { return (n + BlockElements - 1) / BlockElements }

// Tensors returns the number of tensors.
func (l *Layout) Tensors() int { return len(l.tensors) }

// Tensor returns the place of tensor i.
func (l *Layout) Tensor(i int) Tensor { return l.tensors[i] }

// Elements returns the number of elements of all tensors.
func (l *Layout) Elements() int { return l.starts[len(l.starts)-1] }

// Blocks returns the number of blocks of all tensors.
func (l *Layout) Blocks() int { return len(l.starts) - 1 }

// Block returns the elements [lo, hi) of block b in the slab.
func (l *Layout) Block(b int) (lo, hi int) { return l.starts[b], l.starts[b+1] }
