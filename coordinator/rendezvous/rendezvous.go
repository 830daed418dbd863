// Package rendezvous is the pure machine that turns members into generations: who takes part, in
// which rank, with which micro-batches. It has no clock, randomness, goroutine or I/O; the
// coordinator's shell performs its effects and feeds back what members report.
//
// A generation is one fixed ring. It ends when training is complete, when a member joins (the
// ring pauses at a step boundary, so nothing is computed twice), or when a rank is lost or
// fails (the survivors are called back, and the next generation starts from the last checkpoint).
//
// Invariants: generation numbers only grow; at most one generation is live; a generation is
// formed only of present members.
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
}

// Event is what happened: one of the types below.
type Event interface{ event() }

// Joined reports a worker that is ready for jobs.
type Joined struct{ Node string }

// Left reports that a member is gone, whether it said so or not.
type Left struct{ Node string }

// TrainingReady reports that everything the first generation needs is prepared.
type TrainingReady struct{}

// Progressed reports that a generation has committed steps up to Step.
type Progressed struct {
	Generation uint64
	Step       int
}

// RankDone reports that a rank's part in a generation has ended.
type RankDone struct {
	Generation uint64
	Node       string
	Complete   bool  // All steps are done.
	Err        error // Why it failed; nil when complete, paused or called back.
}

// StopRequested asks to end at the next step boundary.
type StopRequested struct{}

func (Joined) event()        {}
func (Left) event()          {}
func (TrainingReady) event() {}
func (Progressed) event()    {}
func (RankDone) event()      {}
func (StopRequested) event() {}

// Effect is what the shell must do: one of the types below.
type Effect interface{ effect() }

// Form starts a generation from the last checkpoint.
type Form struct {
	Generation uint64
	Nodes      []string // By rank.
	Assignment [][]int  // Micro-batches by rank.
}

// Pause asks the generation to checkpoint and end at the next step boundary.
type Pause struct{ Generation uint64 }

// CallBack cancels the generation at the nodes still in it.
type CallBack struct {
	Generation uint64
	Nodes      []string
}

// Wait tells how many workers are there and how many are wanted.
type Wait struct{ Have, Want int }

// Finish ends training: complete, stopped on request, or with an error.
type Finish struct {
	Complete bool
	Err      error
}

func (Form) effect()     {}
func (Pause) effect()    {}
func (CallBack) effect() {}
func (Wait) effect()     {}
func (Finish) effect()   {}

// Machine holds the membership of one run.
type Machine struct {
	c          Config
	members    []string // In the order of joining.
	ready      bool
	stopping   bool
	finished   bool
	generation uint64
	live       map[string]bool // Ranks of the live generation that have not ended; nil when none is live.
	ended      ending
	failures   int // Failed generations in a row that got no farther than one before.
	farthest   int // The last step that any generation committed.
}

// ending collects how the live generation is ending.
type ending struct {
	asked    bool // Pause or CallBack was sent.
	complete bool
	err      error
}

// New returns a machine whose first generation is above after, the highest the run has used.
func New(c Config, after uint64) *Machine {
	assert.That(c.MinWorkers >= 1 && c.MicroBatches >= 1, "config %+v", c)
	return &Machine{c: c, generation: after}
}

// Generation is the number of the last generation formed.
func (m *Machine) Generation() uint64 { return m.generation }

// Members lists the present members in the order of joining.
func (m *Machine) Members() []string { return slices.Clone(m.members) }

// Step applies ev and returns the effects to perform, in order.
func (m *Machine) Step(ev Event) []Effect {
	if m.finished {
		return nil
	}
	switch ev := ev.(type) {
	case Joined:
		return m.joined(ev.Node)
	case Left:
		return m.left(ev.Node)
	case TrainingReady:
		if m.ready {
			return nil
		}
		m.ready = true
		return m.form()
	case Progressed:
		if ev.Generation == m.generation && ev.Step > m.farthest {
			m.farthest, m.failures = ev.Step, 0
		}
		return nil
	case RankDone:
		return m.rankDone(ev)
	case StopRequested:
		return m.stop()
	}
	panic("unreachable: unknown event")
}

func (m *Machine) joined(node string) []Effect {
	if slices.Contains(m.members, node) {
		return nil
	}
	m.members = append(m.members, node)
	if m.live == nil {
		return m.form()
	}
	if len(m.members) > m.c.MicroBatches {
		return nil // More ranks than micro-batches: it stands by.
	}
	return m.pause()
}

// pause asks the live generation once to end at the next boundary.
func (m *Machine) pause() []Effect {
	if m.ended.asked {
		return nil
	}
	m.ended.asked = true
	return []Effect{Pause{Generation: m.generation}}
}

func (m *Machine) left(node string) []Effect {
	at := slices.Index(m.members, node)
	if at < 0 {
		return nil
	}
	m.members = slices.Delete(m.members, at, at+1)
	if !m.live[node] {
		if m.live == nil && m.ready {
			return []Effect{Wait{Have: len(m.members), Want: m.want()}}
		}
		return nil
	}
	delete(m.live, node)
	m.failures = 0 // The fault left with the node.
	m.ended.complete = false
	return m.fail(fmt.Errorf("worker %s is gone", node))
}

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
	m.ended.asked = true
	var nodes []string
	for node := range m.live {
		nodes = append(nodes, node)
	}
	slices.Sort(nodes)
	return []Effect{CallBack{Generation: m.generation, Nodes: nodes}}
}

func (m *Machine) rankDone(ev RankDone) []Effect {
	if ev.Generation != m.generation || !m.live[ev.Node] {
		return nil // Of a dead ring, or a repeat: expected, dropped.
	}
	delete(m.live, ev.Node)
	if ev.Err != nil {
		return m.fail(fmt.Errorf("worker %s: %w", ev.Node, ev.Err))
	}
	m.ended.complete = m.ended.complete || ev.Complete
	if len(m.live) == 0 {
		return m.generationEnded()
	}
	return nil
}

// generationEnded decides what comes after the live generation.
func (m *Machine) generationEnded() []Effect {
	end := m.ended
	m.live, m.ended = nil, ending{}
	switch {
	case end.complete && end.err == nil: // One that failed may have been to hand over the last checkpoint.
		return m.finish(Finish{Complete: true})
	case end.err != nil:
		if m.failures++; m.failures >= maxFailures {
			return m.finish(Finish{Err: fmt.Errorf("%d generations in a row failed and got no farther: %w", m.failures, end.err)})
		}
	}
	if m.stopping && end.err != nil {
		return m.finish(Finish{Err: fmt.Errorf("the checkpoint on request failed, earlier ones are whole: %w", end.err)})
	}
	if m.stopping {
		return m.finish(Finish{})
	}
	return m.form()
}

func (m *Machine) finish(f Finish) []Effect {
	m.finished = true
	return []Effect{f}
}

func (m *Machine) stop() []Effect {
	m.stopping = true
	if m.live == nil {
		return m.finish(Finish{})
	}
	return m.pause()
}

// want is the number of members that the next generation waits for: all but one may die later.
func (m *Machine) want() int {
	if m.generation == 0 {
		return m.c.MinWorkers
	}
	return 1
}

// form starts a generation of all present members, or says for whom it waits.
func (m *Machine) form() []Effect {
	if !m.ready {
		return nil
	}
	if len(m.members) < m.want() {
		return []Effect{Wait{Have: len(m.members), Want: m.want()}}
	}
	nodes := slices.Clone(m.members[:min(len(m.members), m.c.MicroBatches)])
	m.generation++
	m.live = make(map[string]bool, len(nodes))
	for _, node := range nodes {
		m.live[node] = true
	}
	return []Effect{Form{Generation: m.generation, Nodes: nodes, Assignment: Assign(m.c.MicroBatches, len(nodes))}}
}

// Assign splits micro-batches 0 to m−1 into world contiguous shares whose sizes differ by at most one.
func Assign(m, world int) [][]int {
	shares := make([][]int, world)
	for i := range m {
		rank := i * world / m
		shares[rank] = append(shares[rank], i)
	}
	return shares
}
