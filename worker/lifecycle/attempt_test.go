package lifecycle

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// begun is a machine of rank 0 of 2 that computes step 0, with the effects so far.
func begun(t *testing.T, takeOver bool, shares ...[]int) (*Machine, []Effect) {
	t.Helper()
	c := Config{MicroBatches: 6, Source: Keep, LastStep: 9, First: shares, Shares: shares, TakeOver: takeOver}
	m := New(c, Holding{Loaded: true})
	m.Step(Started{})
	return m, m.Step(Synced{})
}

// TestTheLastMicroBatchIsComputedBesideTheRing: words and sums go round while it is under way,
// whichever ends first.
func TestTheLastMicroBatchIsComputedBesideTheRing(t *testing.T) {
	for _, computedFirst := range []bool{false, true} {
		m, got := begun(t, false, []int{0, 1}, []int{2, 3, 4, 5})
		check(t, got, []Effect{Clear{}, Compute{MicroBatch: 0}})
		check(t, m.Step(Computed{MicroBatch: 0}), []Effect{Compute{MicroBatch: 1}, Exchange{MicroBatches: []int{0, 1}}})
		check(t, m.Step(Exchanged{Shares: [][]int{{0, 1}, {2, 3, 4, 5}}, Seconds: []float64{1, 1}}), []Effect{Reduce{}})
		if diff := cmp.Diff([]int{0}, m.Holding().Partial); diff != "" {
			t.Errorf("partial sums before the last micro-batch is in them (-want +got):\n%s", diff)
		}
		events := []Event{Reduced{}, Computed{MicroBatch: 1}}
		if computedFirst {
			events[0], events[1] = events[1], events[0]
		}
		check(t, m.Step(events[0]), nil)
		check(t, m.Step(events[1]), []Effect{Apply{}})
	}
}

// TestAFailureWaitsForTheMicroBatchUnderWay: what it adds is not lost, and what it leaves torn is.
func TestAFailureWaitsForTheMicroBatchUnderWay(t *testing.T) {
	broken := errors.New("ring broken")
	for _, c := range []struct {
		end  Event
		want []int
	}{
		{Computed{MicroBatch: 1}, []int{0, 1}},
		{Dropped{MicroBatch: 1, Torn: true}, nil},
		{Dropped{MicroBatch: 1}, []int{0}},
	} {
		m, _ := begun(t, false, []int{0, 1}, []int{2, 3, 4, 5})
		m.Step(Computed{MicroBatch: 0})
		m.Step(Exchanged{Shares: [][]int{{0, 1}, {2, 3, 4, 5}}, Seconds: []float64{1, 1}})
		check(t, m.Step(Failed{Err: broken}), nil)
		check(t, m.Step(Reduced{}), nil)
		check(t, m.Step(c.end), []Effect{Finish{Err: broken}})
		if diff := cmp.Diff(c.want, m.Holding().Partial, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("after %#v: partial sums (-want +got):\n%s", c.end, diff)
		}
	}
}

func TestARankThatIsDoneTakesOver(t *testing.T) {
	m, got := begun(t, true, []int{0}, []int{1, 2, 3, 4, 5})
	check(t, got, []Effect{Clear{}, Compute{MicroBatch: 0}, Ask{Ranks: []int{1}}})
	check(t, m.Step(Answered{MicroBatch: 5}), nil)
	check(t, m.Step(Answered{MicroBatch: 4}), nil) // Twice.
	check(t, m.Step(Computed{MicroBatch: 0}), []Effect{Compute{MicroBatch: 5}, Ask{Ranks: []int{1}}})
	check(t, m.Step(Computed{MicroBatch: 5}), nil) // Before the answer.
	check(t, m.Step(Answered{MicroBatch: 4}), []Effect{Compute{MicroBatch: 4}, Ask{Ranks: []int{1}}})
	check(t, m.Step(Answered{MicroBatch: None}), []Effect{Exchange{MicroBatches: []int{0, 5, 4}}})
	check(t, m.Step(Exchanged{Shares: [][]int{{0, 4, 5}, {1, 2, 3}}, Seconds: []float64{1, 1}}), []Effect{Reduce{}})
}

// TestOnlyWhatIsNotBegunIsGiven, and only to who has it done sooner; then the words tell so.
func TestOnlyWhatIsNotBegunIsGiven(t *testing.T) {
	m, _ := begun(t, true, []int{0, 1, 2}, []int{3, 4, 5})
	claim := Claim{ID: 7, Done: 2.5, Rest: 1, Each: 1}
	refused := []Effect{Give{ID: 7, MicroBatch: None}}
	for name, bad := range map[string]Claim{
		"another step": {Step: 1, ID: 7, Rest: 9}, "another attempt": {Attempt: 1, ID: 7, Rest: 9}, "too slow": {ID: 7, Done: 3, Rest: 1, Each: 1},
	} {
		if diff := cmp.Diff(refused, m.Step(bad)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	check(t, m.Step(claim), []Effect{Give{ID: 7, MicroBatch: 2}})
	check(t, m.Step(claim), refused) // With one less to do it is no longer late.
	claim.Done = 1.5
	check(t, m.Step(claim), []Effect{Give{ID: 7, MicroBatch: 1}, Exchange{MicroBatches: []int{0}}})
	check(t, m.Step(Claim{ID: 7, Rest: 9}), refused)
	m.Step(Failed{})
	m.Step(Computed{MicroBatch: 0})
	check(t, m.Step(claim), refused)
}
