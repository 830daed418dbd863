package lifecycle

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// drive feeds the machine with the outcome of each of its own effects, as a shell without faults
// would, and returns all effects in order.
func drive(m *Machine, outcome func(Effect) Event) []Effect {
	var trace []Effect
	queue := m.Step(Started{})
	for len(queue) > 0 {
		e := queue[0]
		queue = queue[1:]
		trace = append(trace, e)
		if ev := outcome(e); ev != nil {
			queue = append(queue, m.Step(ev)...)
		}
	}
	return trace
}

// faultless is the outcome of an effect when nothing goes wrong.
func faultless(e Effect) Event {
	switch e := e.(type) {
	case Sync:
		return Synced{}
	case Compute:
		return Computed{Step: e.Step, Attempt: e.Attempt}
	case Reduce:
		return Reduced{Step: e.Step, Attempt: e.Attempt}
	case Apply:
		return Applied{Step: e.Step}
	case Save:
		return Saved{Step: e.Step}
	}
	return nil
}

func TestRunsEveryStepOnceAndSavesAtTheInterval(t *testing.T) {
	m := New(Config{FirstStep: 1, LastStep: 3, CheckpointingSteps: 2})
	got := drive(m, faultless)
	want := []Effect{
		Sync{},
		Compute{Step: 1}, Reduce{Step: 1}, Apply{Step: 1}, Save{Step: 2},
		Compute{Step: 2}, Reduce{Step: 2}, Apply{Step: 2}, Save{Step: 3},
		Finish{Step: 3},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("effects (-want +got):\n%s", diff)
	}
}

func TestOverflowVoidsTheAttempt(t *testing.T) {
	m := New(Config{LastStep: 1})
	got := drive(m, func(e Effect) Event {
		if r, ok := e.(Reduce); ok && r.Attempt == 0 {
			return Reduced{Step: r.Step, Attempt: 0, Overflowed: true}
		}
		return faultless(e)
	})
	want := []Effect{
		Sync{}, Compute{}, Reduce{}, Recalibrate{}, Compute{Attempt: 1}, Reduce{Attempt: 1},
		Apply{Attempt: 1}, Save{Step: 1}, Finish{Step: 1},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("effects (-want +got):\n%s", diff)
	}
}

func TestPauseEndsAtTheStepBoundaryWithACheckpoint(t *testing.T) {
	m := New(Config{LastStep: 9})
	got := drive(m, func(e Effect) Event {
		if r, ok := e.(Reduce); ok {
			return Reduced{Step: r.Step, Attempt: r.Attempt, Pause: r.Step == 1}
		}
		return faultless(e)
	})
	want := []Effect{Save{Step: 2}, Finish{Step: 2, Paused: true}}
	if diff := cmp.Diff(want, got[len(got)-2:]); diff != "" {
		t.Errorf("last effects (-want +got):\n%s", diff)
	}
}

func TestNonFiniteSkipsOrHalts(t *testing.T) {
	for _, halt := range []bool{false, true} {
		m := New(Config{LastStep: 2, HaltOnNonFinite: halt})
		got := drive(m, func(e Effect) Event {
			if r, ok := e.(Reduce); ok && r.Step == 0 {
				return Reduced{NonFinite: true, Overflowed: true}
			}
			return faultless(e)
		})
		if diff := cmp.Diff(Effect(Apply{Skip: true}), got[3]); diff != "" {
			t.Errorf("halt=%v: (-want +got):\n%s", halt, diff)
		}
		want := Effect(Finish{Step: 2})
		if halt {
			want = Finish{Step: 1, Paused: true}
		}
		if diff := cmp.Diff(want, got[len(got)-1]); diff != "" {
			t.Errorf("halt=%v: (-want +got):\n%s", halt, diff)
		}
	}
}

func TestStaleAndLateEventsAreDropped(t *testing.T) {
	m := New(Config{LastStep: 2})
	m.Step(Started{})
	m.Step(Synced{})
	for _, ev := range []Event{Started{}, Synced{}, Computed{Step: 1}, Computed{Attempt: 1}, Reduced{}, Applied{}, Saved{}} {
		if got := m.Step(ev); got != nil {
			t.Errorf("%#v while computing step 0: effects %v, want none", ev, got)
		}
	}
	failure := errors.New("ring broken")
	got := m.Step(Failed{Err: failure})
	if diff := cmp.Diff([]Effect{Finish{Err: failure}}, got, cmpopts.EquateErrors()); diff != "" {
		t.Errorf("failure (-want +got):\n%s", diff)
	}
	if got := m.Step(Computed{}); got != nil {
		t.Errorf("after the end: effects %v, want none", got)
	}
}

func TestACompleteRunHasNothingToDo(t *testing.T) {
	got := drive(New(Config{FirstStep: 3, LastStep: 3}), faultless)
	if diff := cmp.Diff([]Effect{Sync{}, Finish{Step: 3}}, got); diff != "" {
		t.Errorf("effects (-want +got):\n%s", diff)
	}
}
