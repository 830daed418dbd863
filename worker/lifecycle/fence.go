package lifecycle

import (
	"fmt"

	"yohaku/internal/epoch"
)

// Generation names one ring: the epoch grows whenever a coordinator starts or takes a run over, the
// number with every ring of the run.
type Generation struct{ Epoch, Number uint64 }

// Before tells whether g is older than h.
func (g Generation) Before(h Generation) bool {
	return g.Epoch < h.Epoch || g.Epoch == h.Epoch && g.Number < h.Number
}

// String gives epoch and number.
func (g Generation) String() string { return fmt.Sprintf("%s.%d", epoch.String(g.Epoch), g.Number) }

// FencedError refuses a word of a coordinator, or a generation, that a higher one has replaced. A
// coordinator that hears it ends: it owns the run no more.
type FencedError struct {
	Coordinator string // Who sent the word.
	Epoch       uint64
	By          string // Who holds this worker.
	Highest     Generation
}

func (e *FencedError) Error() string {
	return fmt.Sprintf("%s with epoch %s is fenced: the worker is held by %s and has accepted generation %v", e.Coordinator, epoch.String(e.Epoch), e.By, e.Highest)
}

// Fence holds whom a worker belongs to, and the highest generation that it accepted. It never goes
// back. It lives as long as the process: what it protects, the state in memory, ends with it too,
// and a worker that is started again has another name and holds nothing.
type Fence struct {
	coordinator string
	highest     Generation
}

// NewFence returns the fence of a worker that joined a coordinator.
func NewFence(coordinator string, of uint64) Fence {
	return Fence{coordinator, Generation{Epoch: of}}
}

// Coordinator is whom the worker belongs to.
func (f *Fence) Coordinator() string { return f.coordinator }

// Highest is the highest generation accepted; its number is 0 before the first of an epoch.
func (f *Fence) Highest() Generation { return f.highest }

// Hear checks the sender of an order. A higher epoch takes the worker over, which taken tells.
func (f *Fence) Hear(coordinator string, of uint64) (taken bool, err error) {
	switch {
	case of > f.highest.Epoch:
		f.coordinator, f.highest = coordinator, Generation{Epoch: of} // The coordinator before may have gone on counting, which this one need not know.
		return true, nil
	case of == f.highest.Epoch && coordinator == f.coordinator:
		return false, nil
	}
	return false, &FencedError{Coordinator: coordinator, Epoch: of, By: f.coordinator, Highest: f.highest}
}

// Begin accepts a generation to be a rank of, or to be called back from before it began. It tells
// false for one that is not above all accepted.
func (f *Fence) Begin(g Generation) bool {
	if !f.highest.Before(g) || g.Epoch != f.highest.Epoch {
		return false
	}
	f.highest = g
	return true
}
