package sim

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"yohaku/coordinator/rendezvous"
	"yohaku/worker/lifecycle"
	"yohaku/worker/replica"
)

// differError reports that states differ, as package worker's does.
type differError struct {
	steps   int
	nodes   []string
	claims  []replica.Claim
	verdict replica.Verdict
}

func (e *differError) Error() string { return fmt.Sprintf("states differ: %+v", e.verdict) }

func (j *job) agree(steps int, claims []replica.Claim) error {
	if v := replica.Judge(claims); !v.Agreed() {
		return &differError{steps, j.o.nodes, claims, v}
	}
	return nil
}

// agreed is ev, or the failure by states that differ.
func (j *job) agreed(steps int, claims []any, ev lifecycle.Event) lifecycle.Event {
	all := make([]replica.Claim, len(claims))
	for rank, c := range claims {
		all[rank] = c.(replica.Claim)
	}
	if err := j.agree(steps, all); err != nil {
		return lifecycle.Failed{Err: err}
	}
	return ev
}

// unchanged tells whether the state is what it was when it was made.
func (w *worker) unchanged() error {
	claims := []replica.Claim{{Then: w.then, Now: w.state.replica()}}
	if v := replica.Judge(claims); !v.Agreed() {
		return &differError{w.state.step, []string{w.name}, claims, v}
	}
	return nil
}

// concerned tells whether err says that the state of the job's worker is not to be trusted.
func (j *job) concerned(err error) bool {
	var differ *differError
	if !errors.As(err, &differ) {
		return false
	}
	for rank, node := range differ.nodes {
		if node == j.w.name && differ.verdict.Concerns(rank) {
			return true
		}
	}
	return false
}

// differed tells the machine of states that differ, if err says so.
func (k *coordinator) differed(err error) {
	var differ *differError
	if !errors.As(err, &differ) {
		return
	}
	suspects := func(ranks []int) (all []rendezvous.Suspect) {
		for _, rank := range ranks {
			k.distrusted[differ.nodes[rank]] = k.generation
			if _, known := k.holdings[differ.nodes[rank]]; known {
				k.holdings[differ.nodes[rank]] = rendezvous.Holding{}
			}
			all = append(all, rendezvous.Suspect{Node: differ.nodes[rank], Rank: rank, Digest: differ.claims[rank].Now.String()})
		}
		return all
	}
	k.correct(differ)
	k.feed(rendezvous.Differed{Generation: k.generation, Step: differ.steps, Wrong: suspects(differ.verdict.Wrong), Undecided: suspects(differ.verdict.Undecided)})
}

// trusted is as package coordinator's.
func (k *coordinator) trusted(node string, anew bool) bool {
	wrongIn := k.distrusted[node]
	if wrongIn == 0 {
		return true
	}
	if !anew || wrongIn >= k.generation {
		return false
	}
	delete(k.distrusted, node)
	k.pending[node] = slices.DeleteFunc(k.pending[node], func(s stepReport) bool { return s.generation <= wrongIn })
	return true
}

// putOut checks that whoever is named was wrong, and that nobody is given up for one fault.
func (k *coordinator) putOut(p rendezvous.PutOut) {
	k.s.result.PutOut++
	w := k.s.worker(p.Node)
	if w.flips == 0 {
		k.s.broken("%s is put out, and no bit of it ever flipped", p.Node)
	}
	if p.Final && w.flips < 2 {
		k.s.broken("%s is put out for good after %d flips", p.Node, w.flips)
	}
}

// correct replaces the last line of the log, if it was a wrong rank's.
func (k *coordinator) correct(differ *differError) {
	want := differ.verdict.Want.String()
	if len(differ.verdict.Undecided) > 0 || differ.steps != k.step || k.replica == want || k.step == 0 {
		return
	}
	for _, s := range k.settled[differ.steps] {
		if s.replica == want {
			k.step--
			k.log, k.lines = k.log[:k.step], k.lines[:k.step]
			k.keepStep(s)
			return
		}
	}
}

// lastSound tells whether no other worker is left that never was wrong: a second fault would end
// the run, rightly.
func (w *worker) lastSound() bool {
	if c := w.s.Config; c.Kills+c.Leaves+c.ReduceKills+c.Freezes+c.Cuts+c.GivenUp+c.Splits > 0 {
		return w.flips > 0 // Those that are sound now may go.
	}
	return !slices.ContainsFunc(w.s.workers, func(o *worker) bool { return o != w && !o.dead && !o.leaving && o.flips == 0 })
}

// flip turns a bit of the worker's state over, between updates.
func (w *worker) flip() {
	if w.flips > 0 && w.lastSound() {
		return
	}
	if j := w.job; j != nil && j.machine != nil {
		switch j.machine.State() {
		case lifecycle.Exchanging, lifecycle.Reducing, lifecycle.Applying, lifecycle.Syncing:
			w.at(10*time.Millisecond, w.flip) // See UpdateFlips.
			return
		}
	}
	w.turnBit()
}

func (w *worker) turnBit() {
	s := w.s
	w.flips++
	w.wrong = true
	v := &w.state.params
	if s.chance(0.5) {
		v = &w.state.m
	}
	v[s.rng.IntN(width)] ^= 1 << s.rng.IntN(63)
	s.note("a bit of %s flips", w.name)
}

// flipInUpdate turns a bit over within an update that others make too.
func (j *job) flipInUpdate() {
	s := j.w.s
	if s.UpdateFlips == 0 || s.now < faultsBegin || len(j.o.nodes) < 2 || !s.chance(0.1) || j.w.lastSound() {
		return
	}
	s.UpdateFlips--
	j.w.turnBit()
}
