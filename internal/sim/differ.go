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
	in      lifecycle.Generation // In which it was found.
	steps   int
	nodes   []string
	claims  []replica.Claim
	verdict replica.Verdict
}

func (e *differError) Error() string { return fmt.Sprintf("states differ: %+v", e.verdict) }

func (j *job) agree(steps int, claims []replica.Claim) error {
	if v := replica.Judge(claims); !v.Agreed() {
		return &differError{j.o.key(), steps, j.o.nodes, claims, v}
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
		return &differError{w.trained, w.state.step, []string{w.name}, claims, v}
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
	k.brought = append(k.brought, differ)
	for _, node := range differ.suspects() {
		k.distrust(node, differ.steps)
	}
	k.correct(differ)
	k.feed(differ.event(k.generation))
}

// distrust is in which generation a state was wrong, after how many steps.
type distrust struct {
	in   uint64
	step int
}

// counts tells whether what the node reports of a step counts: all ranks agreed on those before.
func (d distrust) counts(step int) bool { return d.in == 0 || step < d.step }

func (k *coordinator) distrust(node string, step int) {
	k.distrusted[node] = distrust{k.generation, step}
	if _, known := k.holdings[node]; known {
		k.holdings[node] = rendezvous.Holding{}
	}
}

// suspects are the nodes whose state is not to be trusted.
func (e *differError) suspects() (nodes []string) {
	for rank, node := range e.nodes {
		if e.verdict.Concerns(rank) {
			nodes = append(nodes, node)
		}
	}
	return nodes
}

func (e *differError) event(generation uint64) rendezvous.Differed {
	suspects := func(ranks []int) (all []rendezvous.Suspect) {
		for _, rank := range ranks {
			all = append(all, rendezvous.Suspect{Node: e.nodes[rank], Rank: rank, Digest: e.claims[rank].Now.String()})
		}
		return all
	}
	return rendezvous.Differed{Generation: generation, Step: e.steps, Wrong: suspects(e.verdict.Wrong), Undecided: suspects(e.verdict.Undecided)}
}

// bring takes what a worker found before it belonged to this coordinator, as package coordinator does.
func (k *coordinator) bring(differ *differError) {
	if differ == nil || slices.ContainsFunc(k.brought, func(d *differError) bool { return d.in == differ.in && d.steps == differ.steps }) {
		return
	}
	k.s.note("coordinator: brought along, of %v: %v", differ.in, differ)
	k.s.result.Brought++
	k.brought = append(k.brought, differ)
	if k.m != nil {
		k.s.note("coordinator: too late")
		k.s.result.BroughtLate++
	}
}

// distrustBrought voids, before the first generation, what those hold that others found to be wrong.
func (k *coordinator) distrustBrought() {
	for _, differ := range k.brought {
		for _, node := range differ.suspects() {
			if !differ.in.Before(k.trained[node]) {
				k.distrust(node, differ.steps)
			}
		}
		k.correct(differ)
	}
}

// tellBrought tells the machine who was wrong, once it knows who is there.
func (k *coordinator) tellBrought() {
	for _, differ := range k.brought {
		k.feed(differ.event(k.generation))
	}
}

// trusted is as package coordinator's.
func (k *coordinator) trusted(node string, anew bool) bool {
	was := k.distrusted[node]
	if was.in == 0 {
		return true
	}
	if !anew || was.in >= k.generation {
		return false
	}
	delete(k.distrusted, node)
	k.pending[node] = slices.DeleteFunc(k.pending[node], func(s stepReport) bool { return s.generation <= was.in && !was.counts(s.step) })
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
