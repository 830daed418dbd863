package worker

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"yohaku/internal/wire"
	"yohaku/worker/lifecycle"
	"yohaku/worker/replica"
)

// differError reports that ranks differ where they must be the same. The generation is over; what
// is not to be trusted is forgotten, and the coordinator puts its owners out.
type differError struct {
	wire.Difference
	world int
}

func (e *differError) Error() string {
	what := fmt.Sprintf("states after %d steps", e.Steps)
	if e.Gradient != "" {
		what = fmt.Sprintf("gradients of step %d, %s,", e.Steps, e.Gradient)
	}
	var all []string
	for _, s := range append(e.Wrong, e.Undecided...) {
		all = append(all, fmt.Sprintf("rank %d (%s) has %s", s.Rank, s.Node, s.Digest))
	}
	if len(e.Undecided) > 0 {
		return fmt.Sprintf("%s differ, and no majority tells which is right: %s", what, strings.Join(all, ", "))
	}
	return fmt.Sprintf("%s differ: %s, right is %s", what, strings.Join(all, ", "), e.Want)
}

// names tells whether the node's part is not to be trusted.
func (e *differError) names(node string) bool {
	for _, s := range append(e.Wrong, e.Undecided...) {
		if s.Node == node {
			return true
		}
	}
	return false
}

// failed is the machine's event. A gradient may be wrong while the state is right: then a rank that
// has nobody to take the state from, or does not know that it was itself, only computes again.
func (e *differError) failed(node string) lifecycle.Failed {
	f := lifecycle.Failed{Err: e, Lost: e.names(node)}
	if e.Gradient != "" && (e.world == 1 || len(e.Undecided) > 0) {
		f.Lost, f.Void = false, true
	}
	return f
}

// stateDiffers is the error by a verdict on states, or nil.
func stateDiffers(steps int, nodes []string, claims []replica.Claim) error {
	v := replica.Judge(claims)
	if v.Agreed() {
		return nil
	}
	e := &differError{world: len(nodes), Difference: wire.Difference{Steps: steps}}
	if v.Want != (replica.Digest{}) {
		e.Want = v.Want.String()
	}
	suspects := func(ranks []int) (all []wire.Suspect) {
		for _, rank := range ranks {
			c, to := claims[rank], v.Want
			switch {
			case c.Then != c.Now:
				to = c.Then
			case to == replica.Digest{}:
				to = claims[other(ranks, rank)].Now
			}
			all = append(all, wire.Suspect{Node: nodes[rank], Rank: rank, Digest: c.Now.String(), Parts: c.Now.Parts(to)})
		}
		return all
	}
	e.Wrong, e.Undecided = suspects(v.Wrong), suspects(v.Undecided)
	return e
}

// other is the first of ranks that is not rank.
func other(ranks []int, rank int) int {
	for _, r := range ranks {
		if r != rank {
			return r
		}
	}
	return rank
}

// agree returns a *differError unless the claims of all ranks are the same.
func (r *rank) agree(steps int, claims []replica.Claim) error {
	return stateDiffers(steps, r.job.Nodes, claims)
}

// unchanged returns a *differError if the state in memory is not what it was when it was made.
func (w *Worker) unchanged(r *resident, steps int) error {
	return stateDiffers(steps, []string{w.name}, []replica.Claim{{Then: r.replica, Now: r.trainer.Digest()}})
}

// findings keep the last difference that this worker found, until a coordinator was told and has made a
// ring since. One that is no more may have taken it along, and ranks that did not hear of it keep a
// wrong state, and would go on with it.
type findings struct {
	mu    sync.Mutex
	last  *wire.Difference
	known bool // A coordinator was told.
}

func (f *findings) note(d *wire.Difference) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if d != nil {
		f.last, f.known = d, false
	}
}

// told notes that a coordinator knows of d.
func (f *findings) told(d *wire.Difference) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.known = f.known || d != nil && f.last == d
}

// ringBegins forgets what the coordinator knew that made a ring since.
func (f *findings) ringBegins() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.known {
		f.last = nil
	}
}

func (f *findings) latest() *wire.Difference {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.last
}

// difference is what the end of a job of a generation tells of ranks that differ, or nil.
func difference(err error, in lifecycle.Generation) *wire.Difference {
	var differ *differError
	if !errors.As(err, &differ) {
		return nil
	}
	d := differ.Difference
	d.Epoch, d.Generation = in.Epoch, in.Number
	return &d
}
