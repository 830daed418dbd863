package worker

import (
	"slices"
	"sync"

	"github.com/rs/zerolog"

	"yohaku/internal/epoch"
	"yohaku/internal/wire"
	"yohaku/worker/lifecycle"
)

// allegiance is whom this worker belongs to. Orders come in on other goroutines than the owner's, so
// it has a lock.
type allegiance struct {
	mu      sync.Mutex
	log     zerolog.Logger
	runID   string
	fence   lifecycle.Fence
	ranks   []string        // Of the last generation that this worker was in.
	refused map[string]bool // Coordinators whose refusal was logged.
}

func newAllegiance(runID, coordinator string, epoch uint64, log zerolog.Logger) *allegiance {
	return &allegiance{log: log, runID: runID, fence: lifecycle.NewFence(coordinator, epoch), refused: map[string]bool{}}
}

// subjects are those of the coordinator that the worker belongs to now.
func (a *allegiance) subjects() wire.Subjects {
	a.mu.Lock()
	defer a.mu.Unlock()
	return wire.Subjects{RunID: a.runID, Coordinator: a.fence.Coordinator()}
}

func (a *allegiance) highest() lifecycle.Generation {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.fence.Highest()
}

// begin accepts a generation; see lifecycle.Fence.
func (a *allegiance) begin(g lifecycle.Generation, ranks []string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	ok := a.fence.Begin(g)
	if ok {
		a.ranks = ranks
	}
	return ok
}

// fencedError is the refusal of an order, with the code that ends its sender.
type fencedError struct{ error }

// Code tells the coordinator what to do.
func (fencedError) Code() string { return wire.CodeFenced }

// hear checks the sender of an order. A refusal is logged once for each sender.
func (a *allegiance) hear(o wire.Order) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	taken, err := a.fence.Hear(o.Coordinator, o.Epoch)
	switch {
	case taken:
		a.log.Warn().Str("coordinator", o.Coordinator).Str("epoch", epoch.String(o.Epoch)).Msg("taken over by another coordinator")
	case err != nil:
		if !a.refused[o.Coordinator] {
			a.refused[o.Coordinator] = true
			a.log.Error().Err(err).Msg("order refused")
		}
		return fencedError{err}
	}
	return nil
}

// standing answers whoever wants the run.
func (w *Worker) standing() wire.Standing {
	a := w.loyal
	a.mu.Lock()
	s := wire.Standing{
		Node: w.name, Coordinator: a.fence.Coordinator(), Epoch: a.fence.Highest().Epoch, Generation: a.fence.Highest().Number, Ranks: slices.Clone(a.ranks),
	}
	a.mu.Unlock()
	s.Alive = w.sees(s.Coordinator)
	return s
}

// sees tells whether a node is there: by its route, or by gossip where servers are not ours.
func (w *Worker) sees(node string) bool {
	if w.bus.RouteAddr() != "" {
		return w.bus.HasPeer(node)
	}
	return w.members.Has(node)
}
