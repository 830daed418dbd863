// Package cpu runs compiled programs on the processor, on package kernel, spread over one fixed pool of threads.
// Lookups, losses and what only moves values are in Go here.
//
// Invariants: the bits of a result depend on the kernel set only. Elementwise work may be cut
// anywhere; sums are cut into chunks whose size depends on the shape alone, and the chunks are
// combined in order in float64. Products of float32 are rounded before they are added (an explicit
// conversion), so that no compiler fuses them.
package cpu

import (
	"fmt"
	"unsafe"

	"yohaku/model/backend"
	"yohaku/model/kernel"
	"yohaku/model/op"
)

// Backend runs programs on a pool of threads. It belongs to one goroutine.
type Backend struct {
	pool *kernel.Pool
}

var _ backend.Backend = (*Backend)(nil)

// New returns a backend with its own pool of that many threads, 0 meaning all processors. Close stops it.
func New(threads int) *Backend {
	return &Backend{pool: kernel.NewPool(threads)}
}

// Close stops the pool; programs of this backend must not run afterwards.
func (be *Backend) Close() { be.pool.Close() }

// Pool is the pool, for work between runs such as the optimizer's.
func (be *Backend) Pool() *kernel.Pool { return be.pool }

// KernelSet is the kernels' set.
func (be *Backend) KernelSet() string { return kernel.Set() }

// Alloc returns zeroed memory on a 64-byte border, in huge pages where it is large.
func (be *Backend) Alloc(n int) []float32 { return kernel.Slab(n) }

// Choose picks the kernel for d.
func (be *Backend) Choose(d op.Def, in, out []op.Shape) (backend.Kernel, error) {
	how := manner{addend: -1}
	if a, ok := d.(backend.Accumulate); ok {
		how.addend, d, in = len(in)-1, a.Product, in[:len(in)-1]
	}
	if h, ok := d.(backend.BF16); ok {
		how.bf16, d = true, h.Product
	}
	if how.addend >= 0 {
		return be.product(d, in, out, how)
	}
	switch d := d.(type) {
	case op.Conv2D, op.Conv2DBackwardInput, op.Conv2DBackwardWeight, op.Linear, op.LinearBackwardInput, op.LinearBackwardWeight:
		return be.product(d, in, out, how)
	case op.GroupNorm:
		return be.groupNorm(d, in), nil
	case op.GroupNormBackward:
		return be.groupNormBackward(d, in), nil
	case op.LayerNorm:
		return be.layerNorm(d, in), nil
	case op.LayerNormBackward:
		return be.layerNormBackward(in), nil
	case op.Attention:
		return be.attention(d, in), nil
	case op.AttentionBackward:
		return be.attentionBackward(d.Attention, in), nil
	case op.Activation:
		return be.activation(d.Kind()), nil
	case op.ActivationBackward:
		return be.activationBackward(d.Kind), nil
	case op.GEGLU:
		return be.geglu(in), nil
	case op.GEGLUBackward:
		return be.gegluBackward(in), nil
	}
	if k, ok := be.arithmetic(d, in); ok {
		return k, nil
	}
	if k, ok := be.movement(d, in); ok {
		return k, nil
	}
	if k, ok := be.reduction(d, in); ok {
		return k, nil
	}
	return backend.Kernel{}, fmt.Errorf("the cpu backend has no kernel for %s", d.Name())
}

// grain is the least number of elements worth a task.
const grain = 8192

// tasks is the number of tasks for n items of size elements each, and items the number of items in a
// task. Only for work whose bits do not depend on where it is cut.
func tasks(n, size int) (count, items int) {
	items = max(1, grain/max(1, size))
	return (n + items - 1) / items, items
}

// over returns a run that calls f for consecutive ranges of [0, n) on the pool; size is the number of
// elements in an item.
func (be *Backend) over(n, size int, f func(lo, hi int)) func() error {
	count, items := tasks(n, size)
	task := func(t, _ int) { f(t*items, min(n, (t+1)*items)) }
	return func() error {
		be.pool.Run(count, task)
		return nil
	}
}

// doubles is scratch memory as float64: half as many.
func doubles(s []float32) []float64 {
	if len(s) < 2 {
		return nil
	}
	return unsafe.Slice((*float64)(unsafe.Pointer(&s[0])), len(s)/2)
}

func last(s op.Shape) int {
	if len(s) == 0 {
		return 1
	}
	return s[len(s)-1]
}

func rows(s op.Shape) int { return s.TotalSize() / last(s) }
