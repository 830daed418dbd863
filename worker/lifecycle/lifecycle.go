// Package lifecycle is the pure state machine of one rank in one generation:
//
//	idle → syncing → computing → reducing → committed → computing … → done
//
// It has no clock, randomness, goroutine or I/O: the worker's shell performs the effects and
// feeds their outcomes back. Every rank of a generation runs the same machine over the same
// reduced values, so all take the same decisions at the same step.
//
// Invariants: a step is applied at most once, after a reduction whose attempt is the current
// one; steps only grow; nothing happens after Finish.
package lifecycle

import "yohaku/internal/assert"

// State is where a rank stands.
type State string

// The states, in the order they are passed.
const (
	Idle      State = "idle"
	Syncing   State = "syncing"
	Computing State = "computing"
	Reducing  State = "reducing"
	Applying  State = "applying"
	Saving    State = "saving"
	Finished  State = "finished"
)

// Config is fixed for the generation.
type Config struct {
	FirstStep          int // The step to compute first; steps before it are in the state synced.
	LastStep           int // Training is complete once this many steps are applied.
	CheckpointingSteps int // A checkpoint every so many steps; 0 = only at the end.
	HaltOnNonFinite    bool
}

// Event is what happened: one of the types below.
type Event interface{ event() }

// Started begins the generation.
type Started struct{}

// Synced reports that parameters and optimizer state are those of FirstStep.
type Synced struct{}

// Computed reports that all own micro-batches of the attempt are in the sums.
type Computed struct{ Step, Attempt int }

// Reduced reports what the ring agreed on for the attempt.
type Reduced struct {
	Step, Attempt int
	Overflowed    bool // A block needed a larger exponent: the attempt is void.
	NonFinite     bool // Some gradient was not finite.
	Pause         bool // Rank 0 was asked to pause: end after this step.
}

// Applied reports that the update of Step is in the parameters.
type Applied struct{ Step int }

// Saved reports that the checkpoint after Step was handed over.
type Saved struct{ Step int }

// Failed reports that an effect failed; the generation is over for this rank.
type Failed struct{ Err error }

func (Started) event()  {}
func (Synced) event()   {}
func (Computed) event() {}
func (Reduced) event()  {}
func (Applied) event()  {}
func (Saved) event()    {}
func (Failed) event()   {}

// Effect is what the shell must do next: one of the types below.
type Effect interface{ effect() }

// Sync loads parameters and optimizer state.
type Sync struct{}

// Compute adds the gradients of the own micro-batches of Step to fresh sums.
type Compute struct{ Step, Attempt int }

// Reduce sends the sums of the attempt around the ring.
type Reduce struct{ Step, Attempt int }

// Recalibrate raises the exponents to what the last reduction found they need.
type Recalibrate struct{}

// Apply updates the parameters by the reduced sums of Step, or skips the update, and reports it.
type Apply struct {
	Step, Attempt int
	Skip          bool
}

// Save hands over a checkpoint of the state after Step steps.
type Save struct{ Step int }

// Finish ends the generation at this rank with Step steps applied.
type Finish struct {
	Step   int
	Paused bool
	Err    error
}

func (Sync) effect()        {}
func (Compute) effect()     {}
func (Reduce) effect()      {}
func (Recalibrate) effect() {}
func (Apply) effect()       {}
func (Save) effect()        {}
func (Finish) effect()      {}

// Machine is one rank's life in one generation. Its zero value is not usable; see New.
type Machine struct {
	c       Config
	state   State
	step    int // Steps applied so far.
	attempt int
	pause   bool
}

// New returns a machine in state Idle.
func New(c Config) *Machine {
	assert.That(c.FirstStep >= 0 && c.FirstStep <= c.LastStep, "first step %d of %d", c.FirstStep, c.LastStep)
	return &Machine{c: c, state: Idle, step: c.FirstStep}
}

// State tells where the rank stands.
func (m *Machine) State() State { return m.state }

// Applied is the number of steps in the parameters.
func (m *Machine) Applied() int { return m.step }

// Step applies ev and returns the effects to perform, in order. An event that does not belong to
// the current step and attempt is dropped: it comes from work that was given up.
func (m *Machine) Step(ev Event) []Effect {
	if m.state == Finished {
		return nil
	}
	switch ev := ev.(type) {
	case Started:
		return m.started()
	case Synced:
		return m.synced()
	case Computed:
		return m.computed(ev)
	case Reduced:
		return m.reduced(ev)
	case Applied:
		return m.applied(ev)
	case Saved:
		return m.saved(ev)
	case Failed:
		m.state = Finished
		return []Effect{Finish{Step: m.step, Err: ev.Err}}
	}
	panic("unreachable: unknown event")
}

func (m *Machine) started() []Effect {
	if m.state != Idle {
		return nil
	}
	m.state = Syncing
	return []Effect{Sync{}}
}

func (m *Machine) synced() []Effect {
	if m.state != Syncing {
		return nil
	}
	return m.next()
}

// next begins the step after the last applied one, or ends the generation.
func (m *Machine) next() []Effect {
	if m.step >= m.c.LastStep || m.pause {
		m.state = Finished
		return []Effect{Finish{Step: m.step, Paused: m.step < m.c.LastStep}}
	}
	m.attempt = 0
	m.state = Computing
	return []Effect{Compute{Step: m.step, Attempt: 0}}
}

func (m *Machine) computed(ev Computed) []Effect {
	if m.state != Computing || ev.Step != m.step || ev.Attempt != m.attempt {
		return nil
	}
	m.state = Reducing
	return []Effect{Reduce{Step: m.step, Attempt: m.attempt}}
}

func (m *Machine) reduced(ev Reduced) []Effect {
	if m.state != Reducing || ev.Step != m.step || ev.Attempt != m.attempt {
		return nil
	}
	if ev.Overflowed && !ev.NonFinite {
		m.attempt++
		m.state = Computing
		return []Effect{Recalibrate{}, Compute{Step: m.step, Attempt: m.attempt}}
	}
	m.pause = m.pause || ev.Pause || ev.NonFinite && m.c.HaltOnNonFinite
	m.state = Applying
	return []Effect{Apply{Step: m.step, Attempt: m.attempt, Skip: ev.NonFinite}}
}

func (m *Machine) applied(ev Applied) []Effect {
	if m.state != Applying || ev.Step != m.step {
		return nil
	}
	m.step++
	if !m.checkpointDue() {
		return m.next()
	}
	m.state = Saving
	return []Effect{Save{Step: m.step}}
}

// checkpointDue: at the interval, at the end, and before a pause.
func (m *Machine) checkpointDue() bool {
	every := m.c.CheckpointingSteps
	return m.step >= m.c.LastStep || m.pause || every > 0 && m.step%every == 0
}

func (m *Machine) saved(ev Saved) []Effect {
	if m.state != Saving || ev.Step != m.step {
		return nil
	}
	return m.next()
}
