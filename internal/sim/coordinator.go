package sim

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"yohaku/coordinator/rendezvous"
	"yohaku/internal/assignment"
	"yohaku/internal/epoch"
	"yohaku/worker/lifecycle"
)

var errNotTaken = errors.New("order not taken")

// report is what a worker says.
type report struct {
	node           string
	jobID          string
	hello, leaving bool
	trained        lifecycle.Generation // With hello: the last that it was in.
	following      bool
	step           *stepReport
	checkpoint     *state
	done, anew     bool
	err            error
	holding        *lifecycle.Holding
	steps          []stepReport
	state          *state
	sums           *sums
	differ         *differError // With hello: the last that it knows, if nobody was told.
}

type stepReport struct {
	epoch      uint64
	generation uint64
	step       int
	digest     uint64
	replica    string
	shares     [][]int
	seconds    []float64
}

// coordinator is the shell of package coordinator, modelled.
type coordinator struct {
	s *cluster
	m *rendezvous.Machine // nil before training.
	disk
	claiming
	holdings   map[string]rendezvous.Holding // Of known nodes.
	gone       map[string]bool
	jobID      string
	nodes      map[uint64][]string
	pending    map[string][]stepReport // By node.
	distrusted map[string]distrust     // By node, until it takes part in a later generation.
	settled    map[int][]stepReport
	handed     struct {
		jobID string
		step  int
		state *state
		sums  *sums
	}
	donations int
	finished  bool
	err       error
}

func newCoordinator(s *cluster) *coordinator {
	k := s.start(disk{epoch: epoch.First})
	k.claimed = true
	k.machine()
	s.after(0, func() { k.feed(rendezvous.TrainingReady{}) })
	return k
}

func (s *cluster) worker(name string) *worker {
	return s.workers[slices.IndexFunc(s.workers, func(w *worker) bool { return w.name == name })]
}

// feed steps the machine and performs its effects.
func (k *coordinator) feed(ev rendezvous.Event) {
	if k.over() || k.m == nil {
		return
	}
	for _, effect := range k.m.Step(ev) {
		k.s.note("coordinator: %T%+v", effect, effect)
		switch e := effect.(type) {
		case rendezvous.Form:
			k.form(e)
		case rendezvous.Prepare:
			k.holdings[e.Node] = rendezvous.Holding{} // It prepares from nothing.
			k.send(e.Node, order{prepare: "prepare-" + e.Node})
		case rendezvous.Donate:
			k.donations++
			if k.handed.step != e.Step {
				k.handed.state, k.handed.sums = nil, nil
			}
			k.handed.jobID, k.handed.step = fmt.Sprint("donate-", k.donations), e.Step
			k.send(e.Node, order{donate: k.handed.jobID, step: e.Step, state: e.State, sums: e.Sums})
		case rendezvous.Pause:
			for _, n := range k.nodes[e.Generation] {
				k.send(n, order{pause: k.jobID, save: e.Save})
			}
		case rendezvous.CallBack:
			for _, n := range e.Nodes {
				k.send(n, order{cancel: k.jobID, generation: k.generation})
			}
		case rendezvous.Release:
			k.send(e.Node, order{release: true})
		case rendezvous.PutOut:
			k.putOut(e)
		case rendezvous.Undecided:
			k.s.result.Undecided++
		case rendezvous.Finish:
			k.finished, k.err = true, e.Err
			k.commitPending(k.step)
		}
	}
}

// send delivers an order, in order; one that is not answered in time counts as failed.
func (k *coordinator) send(node string, o order) {
	if _, known := k.holdings[node]; !known && !o.release {
		return
	}
	k.s.result.Orders++
	o.from, o.epoch = k.name, k.epoch
	w := k.s.worker(node)
	sent := k.s.now
	w.last = max(sent+k.s.transit(20*time.Millisecond), w.last)
	k.s.after(w.last-sent, func() {
		arrives := !w.unreachable() && !k.s.lose()
		if arrives {
			w.at(0, func() { k.answered(w.take(o)) })
			k.s.repeat(0, func() { w.at(0, func() { k.answered(w.take(o)) }) })
		}
		if late := k.s.now > sent+answerTimeout; w.dead || w.frozen || !arrives || late || k.s.lose() {
			k.s.after(max(0, sent+answerTimeout-k.s.now), func() { k.notTaken(node, o) })
		}
	})
}

// notTaken hears that an order was not answered.
func (k *coordinator) notTaken(node string, o order) {
	_, known := k.holdings[node]
	current := o.train != nil && o.train.id == k.jobID || o.cancel != "" && o.cancel == k.jobID ||
		o.prepare != "" || o.donate != "" && o.donate == k.handed.jobID
	if known && o.pause != "" && o.pause == k.jobID && !k.over() {
		k.send(node, o)
	}
	if known && current && !k.over() {
		k.s.note("coordinator: %s does not answer", node)
		k.feed(rendezvous.Unreached{Node: node, Err: errNotTaken})
	}
}

// lost hears that a node is gone, or believes so.
func (k *coordinator) lost(node string) {
	if _, known := k.holdings[node]; !known || k.over() {
		return
	}
	k.s.note("coordinator: %s is gone", node)
	delete(k.holdings, node)
	k.gone[node] = true
	k.feed(rendezvous.Left{Node: node})
}

// back hears that a node is there, and tells it to say hello if it was given up.
func (k *coordinator) back(node string) {
	if k.gone[node] && !k.over() {
		w := k.s.worker(node)
		w.at(k.s.between(time.Millisecond, 20*time.Millisecond), func() { k.answered(w.take(order{from: k.name, epoch: k.epoch, hello: true, forget: true})) })
	}
}

// receive takes a report, and tells whether its sender is known.
func (k *coordinator) receive(r report) (known bool) {
	if k.finished {
		return true
	}
	k.count(r)
	if r.hello {
		if _, twice := k.holdings[r.node]; !twice {
			delete(k.gone, r.node)
			k.welcome(r)
		}
		return true
	}
	if _, known := k.holdings[r.node]; !known && (k.gone[r.node] || r.step == nil && r.checkpoint == nil) {
		return false
	}
	switch {
	case r.leaving:
		k.feed(rendezvous.Leaving{Node: r.node})
	case r.done && r.jobID == k.handed.jobID:
		if r.state != nil {
			k.handed.state = r.state
		}
		if r.sums != nil {
			k.handed.sums = r.sums
		}
		k.handed.jobID = "" // It may be said twice.
		k.differed(r.err)
		donated := rendezvous.Donated{Node: r.node, Err: r.err}
		if r.holding != nil {
			k.holdings[r.node] = rendezvous.Holding(*r.holding)
			donated.Holding = new(k.sound(r.node))
		}
		k.feed(donated)
	case r.done && r.jobID == "prepare-"+r.node:
		k.feed(rendezvous.Prepared{Node: r.node, Following: r.following, Err: r.err})
	case r.jobID != k.jobID && r.jobID != posted:
	case r.step != nil && (rendezvous.Generation{Epoch: r.step.epoch, Number: r.step.generation}).Before(k.lastLine()):
		// Of a ring whose steps the run went back on.
	case r.step != nil:
		k.keepStep(*r.step)
		if r.step.epoch != k.epoch {
			return true // Of a ring before this coordinator.
		}
		k.feed(rendezvous.Progressed{Generation: r.step.generation, Step: r.step.step, Digest: r.step.replica, Seconds: r.step.seconds})
	case r.checkpoint != nil:
		if r.checkpoint.step > k.step {
			return true // Of a ring whose steps the run went back on.
		}
		if r.checkpoint.step > k.checkpoint.step {
			k.checkpoint = *r.checkpoint
		}
		k.feed(rendezvous.Checkpointed{Step: r.checkpoint.step})
	case r.done:
		k.rankDone(r)
	}
	return true
}

func (k *coordinator) count(r report) {
	if r.step != nil {
		k.s.result.StepReports++
	} else {
		k.s.result.Reports++
	}
}

func (k *coordinator) rankDone(r report) {
	k.pending[r.node] = r.steps
	if r.holding != nil {
		k.holdings[r.node] = rendezvous.Holding(*r.holding)
	}
	if !k.trusted(r.node, r.anew && k.holdings[r.node].Loaded) {
		k.holdings[r.node] = rendezvous.Holding{}
	}
	k.s.note("coordinator: %s is done with %+v, %v", r.node, k.holdings[r.node], r.err)
	k.sound(r.node)
	k.differed(r.err)
	k.feed(rendezvous.RankDone{Generation: k.generation, Node: r.node, Holding: k.holdings[r.node], Err: r.err})
}

func (k *coordinator) form(f rendezvous.Form) {
	k.minted(f.Generation)
	if err := assignment.Check(k.s.MicroBatches, f.First); err != nil {
		k.s.broken("generation %d: %v", f.Generation, err)
	}
	k.settle(f.FirstStep)
	k.generation, k.ranks, k.jobID = f.Generation, f.Nodes, fmt.Sprintf("train-%d.%d", k.epoch, f.Generation)
	k.nodes[f.Generation] = f.Nodes
	if k.s.result.Began == 0 {
		k.s.result.Began = k.s.now
	}
	for rank, n := range f.Nodes {
		o := &trainOrder{
			id: k.jobID, from: k, epoch: k.epoch, generation: f.Generation, rank: rank, nodes: f.Nodes, firstStep: f.FirstStep, lastStep: f.LastStep,
			source: string(f.Sources[rank]), save: f.Save, first: f.First, shares: f.Shares,
		}
		switch {
		case f.Sources[rank] == rendezvous.Keep:
			k.s.result.Kept += len(k.holdings[n].Partial)
		case f.Sources[rank] == rendezvous.TakeSums:
			o.sums = k.handed.sums
		case f.Checkpoint:
			kept := k.checkpoint
			o.state = &kept
		default:
			o.state = k.handed.state
		}
		k.send(n, order{train: o})
	}
}

// settle makes the log that of step.
func (k *coordinator) settle(step int) {
	k.commitPending(step)
	if step != k.handed.step {
		k.handed.state, k.handed.sums = nil, nil
	}
	if k.step < step {
		k.s.broken("steps %d to %d were taken and nobody reports them", k.step+1, step)
	}
	if k.step > step {
		k.s.result.Rewinds++
		for _, n := range k.m.Members() {
			if h := k.holdings[n]; h.Loaded && h.Applied > step {
				k.s.broken("going back to step %d, though %s holds %d", step, n, h.Applied)
			}
		}
		k.step, k.log, k.lines = step, k.log[:step], k.lines[:step]
		k.rewound = rendezvous.Generation{Epoch: k.epoch, Number: k.m.Generation()}
	}
}

func (k *coordinator) commitPending(last int) {
	k.settled = map[int][]stepReport{}
	for _, name := range slices.Sorted(maps.Keys(k.pending)) {
		for _, s := range k.pending[name] {
			if k.distrusted[name].counts(s.step) {
				k.settled[s.step] = append(k.settled[s.step], s)
			}
		}
	}
	clear(k.pending)
	for k.step < last && len(k.settled[k.step+1]) > 0 {
		k.keepStep(rendezvous.MostSaid(k.settled[k.step+1], func(s stepReport) string { return s.replica }))
	}
}

// keepStep records a committed step.
func (k *coordinator) keepStep(s stepReport) {
	if s.step != k.step+1 {
		return
	}
	if before := len(k.log); before > 0 && k.log[before-1] != k.s.want[before] {
		k.s.broken("step %d stands in the log with digest %x, want %x", before, k.log[before-1], k.s.want[before])
	}
	if err := assignment.Check(k.s.MicroBatches, s.shares); err != nil {
		k.s.broken("step %d: %v", s.step, err)
	}
	k.s.result.Worlds = append(k.s.result.Worlds, len(k.nodes[s.generation]))
	for _, node := range k.nodes[s.generation] {
		if k.distrusted[node].in < s.generation {
			delete(k.distrusted, node) // It took part, so it has loaded the state since.
		}
	}
	k.step = s.step
	k.log, k.replica = append(k.log, s.digest), s.replica
	k.lines = append(k.lines, rendezvous.Generation{Epoch: s.epoch, Number: s.generation})
	if k.step > k.handed.step {
		k.handed.state, k.handed.sums = nil, nil
	}
}
