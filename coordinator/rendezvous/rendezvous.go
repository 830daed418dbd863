// Package rendezvous is the pure machine that turns members into generations: who takes part, in
// which rank, with which micro-batches, and where each gets the state to begin with. It has no
// clock, randomness, goroutine or I/O; the coordinator's shell performs its effects and feeds back
// what members report.
//
// A generation is one fixed ring. It ends when training is complete, when a member that joined is
// prepared or one wants to leave (the ring pauses at a step boundary), or when a rank is lost or
// fails (the survivors are called back). The next one begins where the furthest member stands:
// whoever is a step behind gets the complete sums from one that has them, whoever has nothing
// gets the state; of the step that was under way, only the micro-batches that no survivor has in
// its partial sums are computed again. Only when nobody is left, training goes back to the last
// checkpoint.
//
// Invariants: generation numbers only grow; at most one generation is live; a generation is
// formed only of present members; every micro-batch of a step is in one share.
package rendezvous

import (
	"errors"
	"fmt"
	"slices"

	"yohaku/internal/assert"
)

// maxFailures bounds generations in a row that failed with all ranks present and got no farther
// than one before: such a fault would come back for ever.
const maxFailures = 3

// Config is fixed for the run.
type Config struct {
	MinWorkers   int // The first generation waits for so many.
	MicroBatches int // M: micro-batches in a step.
	Steps        int
	SaveEvery    int // A checkpoint is due every so many steps; 0 = only at the end.
	Checkpoint   int // Steps in the last checkpoint; 0 without one, for the base.
}

// member is a present worker.
type member struct {
	name      string
	holding   Holding
	preparing bool
	prepared  bool
	source    Source // In the last generation that it was a rank of.
	failures  int    // How often it could not load the state.
	since     uint64 // The last generation formed when it joined.
	refusals  int    // How often it did not hand over what it was asked for.
	unfit     bool   // It cannot be a rank.
	leaving   bool
	following bool    // It has the state of the live ring, until that ends otherwise than at a step boundary.
	wrong     uint64  // The last generation in which it was wrong.
	forgets   uint64  // The last one in which its state was, so that what it held then is nothing.
	seconds   float64 // Time of one micro-batch, 0 for unknown.
}

// Machine holds the membership of one run.
type Machine struct {
	c          Config
	members    []*member // In the order of joining.
	ready      bool
	stopping   bool
	finished   bool
	generation uint64
	nodes      []string        // Of the last generation, by rank.
	live       map[string]bool // Ranks of the live generation that have not ended; nil when none is live.
	ended      ending
	donor      string // Who is handing something over, or "".
	asked      donation
	donated    donation
	unfit      error // Why the last unfit member is.
	failures   int   // Failed generations in a row that got no farther than one before.
	farthest   int   // The last step that any generation committed.

	faults map[string]int // By node: the step at which its state was wrong last.
	claims []claim
}

// ending collects how the live generation is ending.
type ending struct {
	called, paused, saving bool // CallBack, Pause, Pause with a checkpoint was sent.
	network                bool // Members could not be reached, which is no fault of the generation.
	cured                  bool // The fault was a wrong state or gradient, whose owner was put out.
	misled                 bool // A rank was ordered to go on with a state that it has not: that is known now.
	told                   bool // Undecided was.
	err                    error
}

// donation is what was handed over for generations that begin at step.
type donation struct {
	step        int
	state, sums bool
}

// New returns a machine whose first generation is above after, the highest the run has used.
func New(c Config, after uint64) *Machine {
	assert.That(c.MinWorkers >= 1 && c.MicroBatches >= 1 && c.Steps >= 1, "config %+v", c)
	return &Machine{c: c, generation: after, faults: map[string]int{}}
}

// Generation is the number of the last generation formed.
func (m *Machine) Generation() uint64 { return m.generation }

// Members lists the present members in the order of joining.
func (m *Machine) Members() []string {
	names := make([]string, len(m.members))
	for i, n := range m.members {
		names[i] = n.name
	}
	return names
}

// Step applies ev and returns the effects to perform, in order.
func (m *Machine) Step(ev Event) []Effect {
	if m.finished {
		return nil
	}
	switch ev := ev.(type) {
	case Joined:
		return m.joined(ev)
	case Prepared:
		return m.prepared(ev)
	case Left:
		return m.left(ev.Node)
	case Leaving:
		return m.leaving(ev.Node)
	case TrainingReady:
		m.ready = true
		return m.form()
	case Progressed:
		return m.progressed(ev)
	case Checkpointed:
		m.c.Checkpoint = max(m.c.Checkpoint, ev.Step)
		return nil
	case RankDone:
		return m.rankDone(ev)
	case Differed:
		return m.differed(ev)
	case Unreached:
		return m.unreached(ev)
	case Donated:
		return m.donationDone(ev)
	case StopRequested:
		return m.stop()
	}
	panic("unreachable: unknown event")
}

func (m *Machine) find(node string) *member {
	for _, n := range m.members {
		if n.name == node {
			return n
		}
	}
	return nil
}

// idle: no generation is live, and no donation under way.
func (m *Machine) idle() bool { return m.live == nil && m.donor == "" }

// fail calls the remaining ranks of the live generation back, once they have to stop.
func (m *Machine) fail(err error) []Effect {
	first := m.ended.err == nil
	m.ended.err = errors.Join(m.ended.err, err)
	if len(m.live) == 0 {
		return m.generationEnded()
	}
	if !first {
		return nil
	}
	m.ended.called = true
	var nodes []string
	for node := range m.live {
		nodes = append(nodes, node)
	}
	slices.Sort(nodes)
	return []Effect{CallBack{Generation: m.generation, Nodes: nodes}}
}

func (m *Machine) progressed(ev Progressed) []Effect {
	if ev.Generation != m.generation || len(ev.Seconds) > len(m.nodes) {
		return nil // Of a ring that is over; the next one repeats what it did not report.
	}
	if ev.Step > m.farthest {
		m.farthest, m.failures = ev.Step, 0
	}
	if ev.Step > m.donated.step {
		m.donated = donation{} // Nobody needs it any more. Reports may come late, after the ring ended.
	}
	effects := m.decide(ev.Step, ev.Digest)
	for rank, seconds := range ev.Seconds {
		if n := m.find(m.nodes[rank]); n != nil {
			n.seconds = seconds
		}
	}
	return effects
}

func (m *Machine) rankDone(ev RankDone) []Effect {
	n := m.find(ev.Node)
	if ev.Generation != m.generation || n == nil {
		return nil // Of a dead ring: expected, dropped.
	}
	n.holding = ev.Holding
	if n.forgets == ev.Generation {
		n.holding = Holding{}
	}
	if !m.live[ev.Node] {
		return nil // A repeat.
	}
	delete(m.live, ev.Node)
	if ev.Err != nil {
		if !n.holding.Loaded && n.wrong != ev.Generation {
			m.stateless(n, ev.Err)
		}
		return m.fail(fmt.Errorf("worker %s: %w", ev.Node, ev.Err))
	}
	if len(m.live) == 0 {
		return m.generationEnded()
	}
	return nil
}

// stateless notes that a rank ended by err with no state. If it was to load one, it may not be able to.
// If it was to have one, as who follows a ring is believed to, it loads one next: no generation is
// at fault, and none could fail so twice in a row by the same rank.
func (m *Machine) stateless(n *member, err error) {
	if n.source != LoadState {
		m.ended.misled = true
		return
	}
	if n.failures++; n.failures >= maxFailures-1 {
		n.unfit, m.unfit = true, err
	}
}

// unreached asks again, until the member answers or leaves. A generation that may not have begun at one
// rank is called back from all.
func (m *Machine) unreached(ev Unreached) []Effect {
	n := m.find(ev.Node)
	switch {
	case n == nil:
		return nil
	case m.live[ev.Node] && m.ended.called:
		return []Effect{CallBack{Generation: m.generation, Nodes: []string{ev.Node}}}
	case m.live[ev.Node]:
		m.ended.network = true
		return m.fail(fmt.Errorf("worker %s: %w", ev.Node, ev.Err))
	case m.donor == ev.Node:
		m.donor = ""
		return m.form()
	case n.preparing:
		n.preparing = false
		return m.prepareFree()
	}
	return nil
}

// generationEnded decides what comes after the live generation.
func (m *Machine) generationEnded() []Effect {
	end := m.ended
	m.live, m.ended = nil, ending{}
	m.arrive(end.err == nil)
	if m.c.Checkpoint >= m.c.Steps {
		return m.finish(Finish{Complete: true})
	}
	if end.err != nil && !end.network && !end.cured && !end.misled {
		if m.failures++; m.failures >= maxFailures {
			return m.finish(Finish{Err: fmt.Errorf("%d generations in a row failed and got no farther: %w", m.failures, end.err)})
		}
	}
	return m.form()
}

// arrive notes that who followed the ring stands where it has ended.
func (m *Machine) arrive(orderly bool) {
	step := m.furthest()
	for _, n := range m.members {
		if n.following && orderly && m.holder(step) != nil {
			n.holding = Holding{Loaded: true, Applied: step}
		}
		n.following = false
	}
}

func (m *Machine) donationDone(ev Donated) []Effect {
	if ev.Node != m.donor {
		return nil
	}
	m.donor = ""
	if n := m.find(ev.Node); ev.Err != nil && n != nil && n.wrong == m.generation {
		return m.form() // Of what others hold.
	}
	if ev.Err != nil {
		if n := m.find(ev.Node); n != nil {
			n.refusals++ // Another one is asked, if there is one.
			if ev.Holding != nil {
				n.holding = *ev.Holding
			}
			if !n.holding.Loaded {
				return m.form() // It was believed to have followed a ring, say, and is no donor any more.
			}
		}
		if m.failures++; m.failures >= maxFailures {
			return m.finish(Finish{Err: fmt.Errorf("worker %s could not hand its state over: %w", ev.Node, ev.Err)})
		}
		return m.form()
	}
	if m.donated.step != m.asked.step {
		m.donated = donation{step: m.asked.step}
	}
	m.donated.state = m.donated.state || m.asked.state
	m.donated.sums = m.donated.sums || m.asked.sums
	return m.form()
}

func (m *Machine) finish(f Finish) []Effect {
	m.finished = true
	return []Effect{f}
}

func (m *Machine) stop() []Effect {
	m.stopping = true
	if m.live != nil {
		return m.pause(true)
	}
	if !m.ready {
		return m.finish(Finish{})
	}
	return m.form()
}
