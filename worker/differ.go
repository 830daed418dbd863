package worker

import (
	"errors"
	"fmt"
	"strings"

	"yohaku/internal/wire"
	"yohaku/worker/replica"
)

// differError reports that replicas differ. The generation is over; ranks whose replica is not to
// be trusted forget it, and the coordinator puts them out.
type differError struct {
	steps   int // Applied to the state.
	nodes   []string
	claims  []replica.Claim // By rank.
	verdict replica.Verdict
}

func (e *differError) Error() string {
	var all []string
	for _, s := range append(e.suspects(e.verdict.Wrong), e.suspects(e.verdict.Undecided)...) {
		all = append(all, fmt.Sprintf("rank %d (%s) has %s", s.Rank, s.Node, s.Digest))
	}
	if len(e.verdict.Undecided) > 0 {
		return fmt.Sprintf("replicas differ after %d steps, and no majority tells which is right: %s", e.steps, strings.Join(all, ", "))
	}
	return fmt.Sprintf("replicas differ after %d steps: %s, right is %s", e.steps, strings.Join(all, ", "), e.verdict.Want)
}

// difference is the error as the coordinator hears it.
func (e *differError) difference() *wire.Difference {
	d := &wire.Difference{Steps: e.steps, Wrong: e.suspects(e.verdict.Wrong), Undecided: e.suspects(e.verdict.Undecided)}
	if e.verdict.Want != (replica.Digest{}) {
		d.Want = e.verdict.Want.String()
	}
	return d
}

func (e *differError) suspects(ranks []int) []wire.Suspect {
	var all []wire.Suspect
	for _, rank := range ranks {
		c := e.claims[rank]
		s := wire.Suspect{Node: e.nodes[rank], Rank: rank, Digest: c.Now.String()}
		switch want := e.verdict.Want; {
		case c.Then != c.Now:
			s.Parts = c.Now.Parts(c.Then)
		case want != replica.Digest{}:
			s.Parts = c.Now.Parts(want)
		default:
			s.Parts = c.Now.Parts(e.claims[ranks[0]].Now)
		}
		all = append(all, s)
	}
	return all
}

// agree returns a *differError unless the claims of all ranks are the same.
func (r *rank) agree(steps int, claims []replica.Claim) error {
	if v := replica.Judge(claims); !v.Agreed() {
		return &differError{steps: steps, nodes: r.job.Nodes, claims: claims, verdict: v}
	}
	return nil
}

// unchanged returns a *differError if the state in memory is not what it was when it was made.
func (w *Worker) unchanged(r *resident, steps int) error {
	claims := []replica.Claim{{Then: r.replica, Now: r.trainer.Digest()}}
	if v := replica.Judge(claims); !v.Agreed() {
		return &differError{steps: steps, nodes: []string{w.name}, claims: claims, verdict: v}
	}
	return nil
}

// lost tells whether err says that the replica of the rank is not to be trusted.
func (r *rank) lost(err error) bool {
	var differ *differError
	if !errors.As(err, &differ) {
		return false
	}
	for rank, node := range differ.nodes {
		if node == r.job.Nodes[r.job.Rank] && differ.verdict.Concerns(rank) {
			return true
		}
	}
	return false
}

// difference is what a job's end tells of replicas that differ, or nil.
func difference(err error) *wire.Difference {
	var differ *differError
	if !errors.As(err, &differ) {
		return nil
	}
	return differ.difference()
}
