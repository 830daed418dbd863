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

// faultless is the outcome of an effect when nothing goes wrong and this rank is alone.
func faultless(e Effect) Event {
	switch e := e.(type) {
	case Sync:
		return Synced{}
	case Compute:
		return Computed{Step: e.Step, Attempt: e.Attempt, MicroBatch: e.MicroBatch}
	case Exchange:
		return Exchanged{Step: e.Step, Attempt: e.Attempt, Shares: [][]int{e.MicroBatches}, Seconds: []float64{1}}
	case Reduce:
		return Reduced{Step: e.Step, Attempt: e.Attempt}
	case Apply:
		return Applied{Step: e.Step}
	case Confirm:
		return Confirmed{Step: e.Step}
	case Commit:
		return Committed{Step: e.Step}
	case Save:
		return Saved{Step: e.Step}
	}
	return nil
}

// alone is a world of one with one micro-batch, from step first to last.
func alone(first, last int) Config {
	return Config{MicroBatches: 1, Source: LoadState, FirstStep: first, LastStep: last, First: [][]int{{0}}, Shares: [][]int{{0}}}
}

// step is what a faultless step of one micro-batch takes.
func step(at int) []Effect {
	return []Effect{
		Clear{}, Compute{Step: at}, Exchange{Step: at, MicroBatches: []int{0}}, Reduce{Step: at},
		Apply{Step: at}, Confirm{Step: at}, Commit{Step: at + 1},
	}
}

func joined(parts ...[]Effect) []Effect {
	var all []Effect
	for _, p := range parts {
		all = append(all, p...)
	}
	return all
}

func check(t *testing.T, got, want []Effect) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateErrors(), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("effects (-want +got):\n%s", diff)
	}
}

func TestRunsEveryStepOnceAndSavesAtTheInterval(t *testing.T) {
	c := alone(1, 4)
	c.CheckpointingSteps = 2
	got := drive(New(c, Holding{}), faultless)
	check(t, got, joined([]Effect{Sync{LoadState}}, step(1), []Effect{Save{Step: 2}}, step(2), step(3), []Effect{Save{Step: 4}, Finish{Step: 4}}))
}

func TestOverflowVoidsTheAttempt(t *testing.T) {
	got := drive(New(alone(0, 1), Holding{}), func(e Effect) Event {
		if r, ok := e.(Reduce); ok && r.Attempt == 0 {
			return Reduced{Step: r.Step, Overflowed: true}
		}
		return faultless(e)
	})
	check(t, got, []Effect{
		Sync{LoadState}, Clear{}, Compute{}, Exchange{MicroBatches: []int{0}}, Reduce{},
		Recalibrate{}, Clear{}, Compute{Attempt: 1}, Exchange{Attempt: 1, MicroBatches: []int{0}}, Reduce{Attempt: 1},
		Apply{Attempt: 1}, Confirm{Attempt: 1}, Commit{Step: 1}, Save{Step: 1}, Finish{Step: 1},
	})
}

func TestPauseEndsAtTheStepBoundary(t *testing.T) {
	for _, save := range []bool{false, true} {
		got := drive(New(alone(0, 9), Holding{}), func(e Effect) Event {
			ev := faultless(e)
			if x, ok := ev.(Exchanged); ok && x.Step == 1 {
				x.Pause, x.Save = true, save
				return x
			}
			return ev
		})
		want := joined([]Effect{Sync{LoadState}}, step(0), step(1))
		if save {
			want = append(want, Save{Step: 2})
		}
		check(t, got, append(want, Finish{Step: 2, Paused: true}))
	}
}

func TestNonFiniteSkipsOrHalts(t *testing.T) {
	for _, halt := range []bool{false, true} {
		c := alone(0, 2)
		c.HaltOnNonFinite = halt
		got := drive(New(c, Holding{}), func(e Effect) Event {
			if r, ok := e.(Reduce); ok && r.Step == 0 {
				return Reduced{NonFinite: true, Overflowed: true}
			}
			return faultless(e)
		})
		check(t, got[5:6], []Effect{Apply{Skip: true}})
		want := Finish{Step: 2}
		if halt {
			want = Finish{Step: 1, Paused: true}
		}
		check(t, got[len(got)-1:], []Effect{want})
	}
}

func TestStaleAndLateEventsAreDropped(t *testing.T) {
	m := New(alone(0, 2), Holding{})
	m.Step(Started{})
	m.Step(Synced{})
	for _, ev := range []Event{
		Started{}, Synced{}, Computed{Step: 1}, Computed{Attempt: 1}, Exchanged{Step: 1, Shares: [][]int{{0}}}, Reduced{}, Applied{}, Confirmed{}, Saved{},
	} {
		if got := m.Step(ev); got != nil {
			t.Errorf("%#v while computing step 0: effects %v, want none", ev, got)
		}
	}
	failure := errors.New("ring broken")
	check(t, m.Step(Failed{Err: failure}), nil)
	check(t, m.Step(Computed{}), []Effect{Finish{Err: failure}})
	if got := m.Step(Computed{}); got != nil {
		t.Errorf("after the end: effects %v, want none", got)
	}
}

func TestALostCheckpointIsSavedFirst(t *testing.T) {
	c := alone(3, 3)
	check(t, drive(New(c, Holding{}), faultless), []Effect{Sync{LoadState}, Finish{Step: 3}})
	c.Save = true
	check(t, drive(New(c, Holding{}), faultless), []Effect{Sync{LoadState}, Save{Step: 3}, Finish{Step: 3}})
}

// until drives the machine to the first effect that stop likes, and fails it there.
func until(m *Machine, err error, torn bool, stop func(Effect) bool) []Effect {
	return drive(m, func(e Effect) Event {
		c, computes := e.(Compute)
		switch {
		case !stop(e):
			return faultless(e)
		case computes:
			return Dropped{Step: c.Step, Attempt: c.Attempt, MicroBatch: c.MicroBatch, Err: err, Torn: torn}
		}
		return Failed{Err: err}
	})
}

func TestWhatARankHoldsWhenTheRingBreaks(t *testing.T) {
	broken := errors.New("ring broken")
	three := Config{MicroBatches: 3, Source: Keep, FirstStep: 4, LastStep: 9, First: [][]int{{0, 1, 2}}, Shares: [][]int{{0, 1, 2}}}
	for _, c := range []struct {
		name string
		torn bool
		stop func(Effect) bool
		want Holding
	}{
		{"computing", false, func(e Effect) bool { c, ok := e.(Compute); return ok && c.MicroBatch == 2 }, Holding{true, 4, true, []int{0, 1}}},
		{"within a micro-batch", true, func(e Effect) bool { c, ok := e.(Compute); return ok && c.MicroBatch == 2 }, Holding{true, 4, true, nil}},
		{"exchanging", false, func(e Effect) bool { _, ok := e.(Exchange); return ok }, Holding{true, 4, true, []int{0, 1, 2}}},
		{"reducing", false, func(e Effect) bool { _, ok := e.(Reduce); return ok }, Holding{true, 4, false, []int{0, 1, 2}}},
		{"confirming", false, func(e Effect) bool { _, ok := e.(Confirm); return ok }, Holding{true, 5, true, nil}},
	} {
		m := New(three, Holding{Loaded: true, Applied: 4, Sums: true})
		until(m, broken, c.torn, c.stop)
		if diff := cmp.Diff(c.want, m.Holding(), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: holding (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestARepeatedAttemptIsTakenBack(t *testing.T) {
	m := New(alone(0, 1), Holding{})
	got := drive(m, func(e Effect) Event {
		if r, ok := e.(Reduce); ok {
			if r.Attempt == 0 {
				return Reduced{Overflowed: true}
			}
			return Failed{}
		}
		return faultless(e)
	})
	check(t, got[len(got)-2:], []Effect{Revert{}, Finish{}})
	if got := m.Holding(); len(got.Partial) != 0 {
		t.Errorf("holding %+v, want no partial sums", got)
	}
}

func TestPartialSumsAreContinuedOrDropped(t *testing.T) {
	c := Config{MicroBatches: 3, Source: Keep, FirstStep: 4, LastStep: 5, First: [][]int{{0, 2}, {1}}, Shares: [][]int{{0}, {1, 2}}}
	stop := func(e Effect) bool { _, ok := e.(Exchange); return ok }
	got := until(New(c, Holding{Loaded: true, Applied: 4, Partial: []int{2}}), nil, false, stop)
	check(t, got, []Effect{Sync{Keep}, Compute{Step: 4, MicroBatch: 0}, Exchange{Step: 4, MicroBatches: []int{2, 0}}, Finish{Step: 4}})
	got = until(New(c, Holding{Loaded: true, Applied: 4, Partial: []int{2, 1}}), nil, false, stop)
	check(t, got, []Effect{
		Sync{Keep}, Clear{}, Compute{Step: 4, MicroBatch: 0}, Compute{Step: 4, MicroBatch: 2}, Exchange{Step: 4, MicroBatches: []int{0, 2}}, Finish{Step: 4},
	})
}

func TestASourceThatDoesNotFitFails(t *testing.T) {
	c := alone(4, 9)
	for _, bad := range []struct {
		source Source
		h      Holding
	}{{Keep, Holding{}}, {Keep, Holding{Loaded: true, Applied: 3}}, {TakeSums, Holding{Loaded: true, Applied: 4}}} {
		c.Source = bad.source
		check(t, New(c, bad.h).Step(Started{}), []Effect{Finish{Err: cmpopts.AnyError}})
	}
	c.Source = TakeSums
	m := New(c, Holding{Loaded: true, Applied: 3, Partial: []int{0}})
	m.Step(Started{})
	m.Step(Synced{})
	if diff := cmp.Diff(Holding{Loaded: true, Applied: 4, Sums: true}, m.Holding(), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("after taking the sums (-want +got):\n%s", diff)
	}
}

func TestAHoleOrAnOverlapVoidsTheStep(t *testing.T) {
	c := Config{MicroBatches: 2, Source: LoadState, LastStep: 1, First: [][]int{{0}, {1}}, Shares: [][]int{{0}, {1}}}
	for _, shares := range [][][]int{{{0}, {}}, {{0}, {0, 1}}} {
		got := drive(New(c, Holding{}), func(e Effect) Event {
			if x, ok := e.(Exchange); ok {
				return Exchanged{Step: x.Step, Shares: shares, Seconds: []float64{1, 1}}
			}
			return faultless(e)
		})
		check(t, got[len(got)-1:], []Effect{Finish{Err: cmpopts.AnyError}})
	}
}

func TestASlowRankGetsLess(t *testing.T) {
	c := Config{MicroBatches: 4, Source: LoadState, LastStep: 2, First: [][]int{{0, 1}, {2, 3}}, Shares: [][]int{{0, 1}, {2, 3}}}
	got := drive(New(c, Holding{}), func(e Effect) Event {
		if x, ok := e.(Exchange); ok {
			shares := [][]int{{0, 1}, {2, 3}}
			if x.Step == 1 {
				shares = [][]int{{0, 1, 2}, {3}}
			}
			return Exchanged{Step: x.Step, Shares: shares, Seconds: []float64{1, 3}}
		}
		return faultless(e)
	})
	var computed []int
	for _, e := range got {
		if c, ok := e.(Compute); ok && c.Step == 1 {
			computed = append(computed, c.MicroBatch)
		}
	}
	if diff := cmp.Diff([]int{0, 1, 2}, computed); diff != "" {
		t.Errorf("micro-batches of step 1 at rank 0 (-want +got):\n%s", diff)
	}
}
