package compile

import (
	"yohaku/model/backend"
	"yohaku/model/op"
)

// unwrap is the operator within a fused one.
func unwrap(d op.Def) op.Def {
	if a, ok := d.(backend.Accumulate); ok {
		d = a.Product
	}
	if b, ok := d.(backend.BF16); ok {
		d = b.Product
	}
	return d
}

// fuse turns u + v, where v is the result of a matrix product that nobody else reads and u is made
// before that product, into the product accumulating onto u: residual connections, and sums of
// gradients. The sum then starts from u, so that rounding differs from the plain program's.
func fuse(p *program) {
	f := &fusion{p: p, made: make([]int, len(p.storages)), uses: make([]int, len(p.storages)), removed: make([]bool, len(p.code))}
	for i := range f.made {
		f.made[i] = -1
	}
	for i, c := range p.code {
		for _, v := range c.results {
			if v >= 0 {
				f.made[p.values[v].storage] = i
			}
		}
		for _, v := range c.operands {
			f.uses[p.values[v].storage]++
		}
	}
	for _, v := range p.outputs {
		f.uses[p.values[v].storage]++
	}
	for _, g := range p.grads {
		f.uses[p.values[g.value].storage]++
	}
	for i, c := range p.code {
		if _, ok := c.def.(op.Add); ok {
			f.add(i, c)
		}
	}
	f.sweep()
}

type fusion struct {
	p       *program
	made    []int // Storage → instruction that makes it, −1 for leaves.
	uses    []int // Storage → how often it is read or asked for.
	removed []bool
}

// add tries to fuse addition i into the product of one operand.
func (f *fusion) add(i int, c *instruction) {
	u, v := c.operands[0], c.operands[1]
	if f.made[f.p.values[u].storage] > f.made[f.p.values[v].storage] {
		u, v = v, u
	}
	stored := f.p.values[v].storage
	at := f.made[stored]
	if at < 0 || f.uses[stored] != 1 || f.made[f.p.values[u].storage] >= at {
		return
	}
	product := f.p.code[at]
	if !accumulates(product.def) || f.p.values[product.results[0]].storage != stored {
		return
	}
	product.def = backend.Accumulate{Product: product.def}
	product.operands = append(product.operands, u)
	product.results[0] = c.results[0]
	f.made[f.p.values[c.results[0]].storage] = at
	f.removed[i] = true
}

func accumulates(d op.Def) bool {
	switch d.(type) {
	case op.Conv2D, op.Conv2DBackwardInput, op.Conv2DBackwardWeight, op.Linear, op.LinearBackwardInput, op.LinearBackwardWeight:
		return true
	}
	return false
}

func (f *fusion) sweep() {
	kept := f.p.code[:0]
	for i, c := range f.p.code {
		if !f.removed[i] {
			kept = append(kept, c)
		}
	}
	f.p.code = kept
}
