// Package lifecycle is the pure state machine of one rank in one generation:
//
//	idle → syncing → computing → exchanging → reducing → applying → confirming → committing → computing … → finished
//
// The last own micro-batch is under way while the ranks exchange which ones they have and reduce
// what it has already added to (state computing is left before it ends; see attempt.go).
//
// It has no clock, randomness, goroutine or I/O: the worker's shell performs the effects and
// feeds their outcomes back. Every rank of a generation runs the same machine over the same
// exchanged and reduced values, so all take the same decisions at the same step.
//
// What a rank holds in memory outlives its generation (Holding). A step is committed at a rank
// when every rank of the generation has said that it has the complete sums; a rank applies the
// step before that, and keeps the sums until the next reduction. So whenever a ring breaks, the
// survivors are at most one step apart, and those ahead have what those behind lack.
//
// Invariants: a step is applied at most once at a rank; steps only grow; a micro-batch is in a
// Holding only when all its gradient is in the partial sums; nothing happens after Finish.
package lifecycle

import (
	"errors"
	"fmt"
	"slices"

	"yohaku/internal/assert"
	"yohaku/internal/assignment"
)

// ErrHolding reports that the coordinator's order does not fit what this rank has in memory. The
// generation fails, and the next one is formed from what the rank reports then.
var ErrHolding = errors.New("the order does not fit the state in memory")

// State is where a rank stands.
type State string

// The states, in the order they are passed.
const (
	Idle       State = "idle"
	Syncing    State = "syncing"
	Computing  State = "computing"
	Exchanging State = "exchanging"
	Reducing   State = "reducing"
	Applying   State = "applying"
	Confirming State = "confirming"
	Committing State = "committing"
	Saving     State = "saving"
	Finished   State = "finished"
)

// Source says where a rank gets the state of the generation's first step.
type Source string

// The sources.
const (
	Keep      Source = "keep"  // It is in memory.
	TakeSums  Source = "sums"  // The step before is in memory; another rank hands the complete sums over.
	LoadState Source = "state" // From another rank, or the last checkpoint.
)

// Holding is what a rank has in memory, from generation to generation.
type Holding struct {
	Loaded  bool
	Applied int   // Steps in the parameters.
	Sums    bool  // Of the last of these, the complete sums are there too.
	Partial []int // Micro-batches of the next step that are in the partial sums.
}

// Config is fixed for the generation.
type Config struct {
	Rank               int
	MicroBatches       int // In a step.
	Source             Source
	FirstStep          int // The step to compute first; steps before it are in the state synced.
	LastStep           int // The generation is complete once this many steps are applied.
	CheckpointingSteps int // A checkpoint every so many steps; 0 = only at the end.
	HaltOnNonFinite    bool
	Save               bool    // Begin with the checkpoint of FirstStep.
	First              [][]int // Micro-batches of the first step, by rank.
	Shares             [][]int // Of the next ones, until speeds say otherwise.
	TakeOver           bool    // Ask others for micro-batches that they have not begun, once done with the own ones.
}

// Machine is one rank's life in one generation. Its zero value is not usable; see New.
type Machine struct {
	c           Config
	state       State
	holding     Holding
	attempt     int
	shares      [][]int   // Of the current step, by rank.
	next        [][]int   // Of the next.
	seconds     []float64 // Time of one micro-batch, by rank, as last exchanged.
	pause, save bool
	failure     error // Ends the generation once the micro-batch under way has ended.
	lost, void  bool  // The state in memory, or the partial sums, are not to be trusted any more.

	// Of the attempt.
	queue   []int    // Own micro-batches not begun.
	doing   int      // The one under way, or None.
	asking  bool     // An Ask is not answered.
	settled bool     // No more are asked for.
	early   *Reduced // The complete sums, heard before that the micro-batch under way has ended.
}

// None stands for no micro-batch.
const None = -1

// New returns a machine in state Idle, at a rank that holds h.
func New(c Config, h Holding) *Machine {
	assert.That(c.FirstStep >= 0 && c.FirstStep <= c.LastStep, "first step %d of %d", c.FirstStep, c.LastStep)
	h.Partial = slices.Clone(h.Partial)
	return &Machine{c: c, state: Idle, holding: h, next: c.First, doing: None}
}

// State tells where the rank stands.
func (m *Machine) State() State { return m.state }

// Holding is what the rank has in memory now.
func (m *Machine) Holding() Holding {
	h := m.holding
	h.Partial = slices.Clone(h.Partial)
	return h
}

// Step applies ev and returns the effects to perform, in order. An event that does not belong to
// the current step and attempt is dropped: it comes from work that was given up.
func (m *Machine) Step(ev Event) []Effect {
	if claim, ok := ev.(Claim); ok {
		return m.claimed(claim)
	}
	if m.state == Finished {
		return nil
	}
	if failed, ok := ev.(Failed); ok {
		m.lost, m.void = m.lost || failed.Lost, m.void || failed.Void
	}
	if m.failure != nil {
		return m.ending(ev)
	}
	switch ev := ev.(type) {
	case Started:
		return m.started()
	case Synced:
		return m.synced()
	case Computed:
		return m.computed(ev)
	case Dropped:
		return m.dropped(ev)
	case Answered:
		return m.answered(ev)
	case Exchanged:
		return m.exchanged(ev)
	case Reduced:
		return m.reduced(ev)
	case Applied:
		return m.applied(ev)
	case Confirmed:
		return m.confirmed(ev)
	case Committed:
		return m.committed(ev)
	case Saved:
		if m.state != Saving || ev.Step != m.holding.Applied {
			return nil
		}
		return m.begin()
	case Failed:
		return m.failed(ev.Err)
	}
	panic("unreachable: unknown event")
}

// current tells whether an event of the step and attempt belongs to what the machine does in state s.
func (m *Machine) current(s State, step, attempt int) bool {
	return m.state == s && step == m.holding.Applied && attempt == m.attempt
}

func (m *Machine) started() []Effect {
	if m.state != Idle {
		return nil
	}
	h := m.holding
	want := map[Source]int{Keep: m.c.FirstStep, TakeSums: m.c.FirstStep - 1}
	at, held := want[m.c.Source]
	if held && (!h.Loaded || h.Applied != at) {
		return m.finish(Finish{Err: fmt.Errorf("%w: loaded %v with %d steps, ordered to begin step %d by source %q", ErrHolding, h.Loaded, h.Applied, m.c.FirstStep, m.c.Source)})
	}
	m.state = Syncing
	if m.c.Source == LoadState {
		m.holding = Holding{} // What is half loaded is nothing.
	}
	return []Effect{Sync{m.c.Source}}
}

func (m *Machine) synced() []Effect {
	if m.state != Syncing {
		return nil
	}
	switch m.c.Source {
	case TakeSums:
		m.holding = Holding{Loaded: true, Applied: m.c.FirstStep, Sums: true}
	case LoadState:
		m.holding = Holding{Loaded: true, Applied: m.c.FirstStep}
	}
	if m.c.Save {
		m.state = Saving // It was lost with the rank that was to hand it over.
		return []Effect{Save{Step: m.holding.Applied}}
	}
	return m.begin()
}

// begin begins the step after the last applied one, or ends the generation.
func (m *Machine) begin() []Effect {
	if step := m.holding.Applied; step >= m.c.LastStep || m.pause {
		return m.finish(Finish{Step: step, Paused: step < m.c.LastStep})
	}
	m.attempt, m.shares = 0, m.next
	m.next = m.c.Shares
	for _, mb := range m.holding.Partial {
		if !slices.Contains(m.shares[m.c.Rank], mb) {
			m.holding.Partial = nil // Somebody else computes it: nothing may count twice.
			break
		}
	}
	return m.try()
}

func (m *Machine) exchanged(ev Exchanged) []Effect {
	if !m.current(Exchanging, ev.Step, ev.Attempt) {
		return nil
	}
	if err := assignment.Check(m.c.MicroBatches, ev.Shares); err != nil {
		return m.failed(fmt.Errorf("step %d attempt %d is void: %w", ev.Step, ev.Attempt, err))
	}
	if m.attempt == 0 {
		m.next = assignment.Rebalance(m.next, ev.Seconds)
		m.c.Shares = m.next
	}
	m.seconds = ev.Seconds
	m.pause, m.save = m.pause || ev.Pause, m.save || ev.Save
	m.state = Reducing
	m.holding.Sums = false
	return []Effect{Reduce{Step: ev.Step, Attempt: ev.Attempt}}
}

func (m *Machine) reduced(ev Reduced) []Effect {
	if !m.current(Reducing, ev.Step, ev.Attempt) {
		return nil
	}
	if m.doing != None {
		m.early = &ev
		return nil
	}
	if ev.Overflowed && !ev.NonFinite {
		m.attempt++
		m.holding.Partial = nil
		return append([]Effect{Recalibrate{}}, m.try()...)
	}
	if ev.NonFinite && m.c.HaltOnNonFinite {
		m.pause, m.save = true, true
	}
	m.state = Applying
	return []Effect{Apply{Step: ev.Step, Attempt: ev.Attempt, Skip: ev.NonFinite}}
}

func (m *Machine) applied(ev Applied) []Effect {
	if m.state != Applying || ev.Step != m.holding.Applied {
		return nil
	}
	m.holding = Holding{Loaded: true, Applied: ev.Step + 1, Sums: true}
	m.state = Confirming
	return []Effect{Confirm{Step: ev.Step, Attempt: m.attempt}}
}

func (m *Machine) confirmed(ev Confirmed) []Effect {
	step := m.holding.Applied
	if m.state != Confirming || ev.Step != step-1 {
		return nil
	}
	m.state = Committing
	return []Effect{Commit{Step: step}}
}

func (m *Machine) committed(ev Committed) []Effect {
	if m.state != Committing || ev.Step != m.holding.Applied {
		return nil
	}
	if !m.checkpointDue() {
		return m.begin()
	}
	m.state = Saving
	return []Effect{Save{Step: ev.Step}}
}

// checkpointDue: at the interval, at the end, and where asked for with a pause.
func (m *Machine) checkpointDue() bool {
	step, every := m.holding.Applied, m.c.CheckpointingSteps
	return step >= m.c.LastStep || m.pause && m.save || every > 0 && step%every == 0
}

func (m *Machine) finish(f Finish) []Effect {
	m.state = Finished
	return []Effect{f}
}
