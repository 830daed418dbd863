package compile

import (
	"yohaku/model/backend"
	"yohaku/model/op"
)

// kind says where a value lives.
type kind uint8

const (
	temporary kind = iota // In the slab, from its instruction to its last use.
	input                 // Bound from outside before a run.
	parameter             // In the parameter slab.
	constant              // A scalar of the graph.
	output                // In memory of its own, valid after the run.
)

// value is memory under a shape: one storage may have several names (Reshape).
type value struct {
	storage int
	shape   op.Shape
}

// storage is a piece of memory.
type storage struct {
	kind     kind
	size     int // Elements.
	node     op.Node
	constant float32
	buffer   int // Index of the planned buffer, for temporary.
}

// instruction is one operator to run. results[i] is −1 where nobody needs result i.
type instruction struct {
	def      op.Def
	operands []int
	results  []int
	shapes   []op.Shape // Of all results.
	scope    string
	backward bool
	again    bool // Made by rematerialization.
	kernel   backend.Kernel
}

// program is a list of instructions over values.
type program struct {
	values   []value
	storages []storage
	code     []*instruction
	outputs  []int // Values.
	grads    []gradient
}

// gradient is the value that is the gradient of a leaf.
type gradient struct {
	of    op.Node
	value int
}

func (p *program) newValue(k kind, shape op.Shape, node op.Node) int {
	p.storages = append(p.storages, storage{kind: k, size: shape.TotalSize(), node: node, buffer: -1})
	p.values = append(p.values, value{storage: len(p.storages) - 1, shape: shape})
	return len(p.values) - 1
}

func (p *program) alias(v int, shape op.Shape) int {
	p.values = append(p.values, value{storage: p.values[v].storage, shape: shape})
	return len(p.values) - 1
}

func (p *program) store(v int) *storage { return &p.storages[p.values[v].storage] }

// operandShapes and resultShapes are what a backend chooses a kernel by.
func (p *program) operandShapes(c *instruction) []op.Shape {
	r := make([]op.Shape, len(c.operands))
	for i, v := range c.operands {
		r[i] = p.values[v].shape
	}
	return r
}

func (p *program) resultShapes(c *instruction) []op.Shape {
	r := make([]op.Shape, len(c.results))
	for i, v := range c.results {
		if v >= 0 {
			r[i] = c.shapes[i]
			if r[i] == nil {
				r[i] = op.Shape{}
			}
		}
	}
	return r
}
