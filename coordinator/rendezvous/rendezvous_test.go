package rendezvous

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// play steps m through events and returns all effects.
func play(m *Machine, events ...Event) []Effect {
	var effects []Effect
	for _, ev := range events {
		effects = append(effects, m.Step(ev)...)
	}
	return effects
}

func check(t *testing.T, got, want []Effect) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateErrors(), cmpopts.EquateEmpty(), cmpopts.IgnoreFields(Form{}, "Shares", "Seconds")); diff != "" {
		t.Errorf("effects (-want +got):\n%s", diff)
	}
}

// cluster is a machine with a live first generation of the given nodes.
func cluster(microBatches int, nodes ...string) *Machine {
	m := New(Config{MinWorkers: len(nodes), MicroBatches: microBatches, Steps: 9}, 0)
	play(m, TrainingReady{})
	for _, n := range nodes {
		play(m, Joined{Node: n})
	}
	return m
}

// ended is a rank that was called back at a step.
func ended(generation uint64, node string, h Holding) RankDone {
	return RankDone{Generation: generation, Node: node, Holding: h}
}

func at(step int, partial ...int) Holding {
	return Holding{Loaded: true, Applied: step, Partial: partial}
}

// ahead is at step with the sums that led to it.
func ahead(step int, partial ...int) Holding {
	return Holding{Loaded: true, Applied: step, Sums: true, Partial: partial}
}

func TestFirstGenerationWaitsForMinWorkers(t *testing.T) {
	m := New(Config{MinWorkers: 2, MicroBatches: 4, Steps: 9}, 0)
	check(t, play(m, Joined{Node: "a"}, TrainingReady{}), []Effect{Wait{Have: 1, Want: 2}})
	check(t, play(m, Joined{Node: "a"}, Joined{Node: "b"}), []Effect{Form{
		Generation: 1, Nodes: []string{"a", "b"}, LastStep: 9, Sources: []Source{LoadState, LoadState}, Checkpoint: true, First: [][]int{{0, 2}, {1, 3}},
	}})
	check(t, play(m, Checkpointed{9}, ended(1, "b", ahead(9))), nil)
	check(t, play(m, ended(1, "a", ahead(9))), []Effect{Finish{Complete: true}})
	check(t, play(m, Joined{Node: "c"}), nil)
}

func TestAJoinerIsPreparedAndGetsTheStateAtAStepBoundary(t *testing.T) {
	m := cluster(4, "a")
	check(t, play(m, Joined{Node: "b"}), []Effect{Prepare{"b"}})
	check(t, play(m, Prepared{Node: "b"}), []Effect{Pause{Generation: 1}})
	check(t, play(m, ended(1, "a", ahead(3))), []Effect{Donate{Node: "a", Step: 3, State: true}})
	check(t, play(m, Donated{Node: "a"}), []Effect{Form{
		Generation: 2, Nodes: []string{"a", "b"}, FirstStep: 3, LastStep: 9, Sources: []Source{Keep, LoadState}, First: [][]int{{0, 2}, {1, 3}},
	}})
}

// TestAJoinerThatFollowsTheRing has the state where the ring ends; nothing is handed over. A ring
// that breaks instead says nothing of where it stands.
func TestAJoinerThatFollowsTheRing(t *testing.T) {
	m := cluster(4, "a")
	check(t, play(m, Joined{Node: "b"}, Prepared{Node: "b", Following: true}), []Effect{Prepare{"b"}, Pause{Generation: 1}})
	check(t, play(m, ended(1, "a", ahead(3))), []Effect{Form{
		Generation: 2, Nodes: []string{"a", "b"}, FirstStep: 3, LastStep: 9, Sources: []Source{Keep, Keep}, First: [][]int{{0, 2}, {1, 3}},
	}})
	play(m, Joined{Node: "c"}, Prepared{Node: "c", Following: true}, Left{"b"})
	check(t, play(m, ended(2, "a", at(4, 2))), []Effect{Donate{Node: "a", Step: 4, State: true}})
	// It was not where it was expected to be: it gets the state.
	m = cluster(4, "a")
	play(m, Joined{Node: "b"}, Prepared{Node: "b", Following: true}, ended(1, "a", ahead(3)))
	play(m, RankDone{Generation: 2, Node: "b", Err: errors.New("no such state")})
	check(t, play(m, ended(2, "a", ahead(3))), []Effect{Donate{Node: "a", Step: 3, State: true}})
}

// TestAJoinerThatLostTheRingIsNoFault: that one after the other did not arrive where it was believed to be
// does not end the run, however often it happens before a step is made. Each loads the state then.
func TestAJoinerThatLostTheRingIsNoFault(t *testing.T) {
	m := cluster(8, "a")
	for i, n := range []string{"b", "c", "d", "e"} {
		before, g := m.Members(), m.Generation()
		play(m, Joined{Node: n}, Prepared{Node: n, Following: true})
		for _, node := range before {
			play(m, ended(g, node, ahead(3)))
		}
		effects := play(m, RankDone{Generation: g + 1, Node: n, Err: errors.New("no such state")})
		for _, node := range before {
			effects = append(effects, play(m, ended(g+1, node, ahead(3)))...)
		}
		effects = append(effects, play(m, Donated{Node: "a"})...)
		form, ok := effects[len(effects)-1].(Form)
		if !ok || form.Generation != g+2 || form.Sources[i+1] != LoadState || form.Sources[i] != Keep {
			t.Fatalf("%s: effects %+v, want a generation in which it loads the state", n, effects)
		}
	}
}

// TestADonorThatLostTheRingIsNoFault: the next one is asked, and the checkpoint is left when nobody holds
// the state.
func TestADonorThatLostTheRingIsNoFault(t *testing.T) {
	m := cluster(8, "a")
	for _, n := range []string{"b", "c", "d", "e"} {
		play(m, Joined{Node: n}, Prepared{Node: n, Following: n != "e"})
	}
	check(t, play(m, ended(1, "a", ahead(3))), []Effect{Donate{Node: "a", Step: 3, State: true}})
	check(t, play(m, Left{"a"}), []Effect{Donate{Node: "b", Step: 3, State: true}})
	nothing := Holding{}
	check(t, play(m, Donated{Node: "b", Holding: &nothing, Err: errors.New("not in memory")}), []Effect{Donate{Node: "c", Step: 3, State: true}})
	check(t, play(m, Donated{Node: "c", Holding: &nothing, Err: errors.New("not in memory")}), []Effect{Donate{Node: "d", Step: 3, State: true}})
	check(t, play(m, Donated{Node: "d", Holding: &nothing, Err: errors.New("not in memory")}), []Effect{Form{
		Generation: 2, Nodes: []string{"b", "c", "d", "e"}, LastStep: 9, Sources: []Source{LoadState, LoadState, LoadState, LoadState}, Checkpoint: true,
		First: [][]int{{0, 4}, {1, 5}, {2, 6}, {3, 7}},
	}})
}

// TestTheLastThatLostTheRingLoadsTheCheckpoint: it is no less fit than any other.
func TestTheLastThatLostTheRingLoadsTheCheckpoint(t *testing.T) {
	m := cluster(4, "a")
	play(m, Joined{Node: "b"}, Prepared{Node: "b", Following: true}, ended(1, "a", ahead(3)))
	play(m, RankDone{Generation: 2, Node: "b", Err: errors.New("no such state")}, Left{"a"}, Left{"b"})
	check(t, play(m, Joined{Node: "c"}), []Effect{Form{
		Generation: 4, Nodes: []string{"c"}, LastStep: 9, Sources: []Source{LoadState}, Checkpoint: true, First: [][]int{{0, 1, 2, 3}},
	}})
}

func TestSurvivorsKeepWhatTheyHave(t *testing.T) {
	m := cluster(6, "a", "b", "c")
	check(t, play(m, Left{"b"}), []Effect{CallBack{Generation: 1, Nodes: []string{"a", "c"}}})
	check(t, play(m, RankDone{Generation: 1, Node: "c", Holding: at(5, 4, 5), Err: errors.New("ring broken")}), nil)
	check(t, play(m, ended(1, "a", at(5, 0))), []Effect{Form{
		Generation: 2, Nodes: []string{"a", "c"}, FirstStep: 5, LastStep: 9, Sources: []Source{Keep, Keep}, First: [][]int{{0, 1, 3}, {2, 4, 5}},
	}})
	check(t, play(m, Left{"a"}), []Effect{CallBack{Generation: 2, Nodes: []string{"c"}}})
	check(t, play(m, Left{"c"}), []Effect{Wait{Have: 0, Want: 1}})
	check(t, play(m, Joined{Node: "d"}), []Effect{Form{
		Generation: 3, Nodes: []string{"d"}, LastStep: 9, Sources: []Source{LoadState}, Checkpoint: true, First: [][]int{{0, 1, 2, 3, 4, 5}},
	}})
}

func TestWhoIsAStepBehindGetsTheSums(t *testing.T) {
	m := cluster(3, "a", "b", "c")
	play(m, Left{"a"}, ended(1, "b", at(4, 1)))
	check(t, play(m, ended(1, "c", ahead(5))), []Effect{Donate{Node: "c", Step: 5, Sums: true}})
	check(t, play(m, Donated{Node: "c"}), []Effect{Form{
		Generation: 2, Nodes: []string{"b", "c"}, FirstStep: 5, LastStep: 9, Sources: []Source{TakeSums, Keep}, First: [][]int{{0, 2}, {1}},
	}})
	// The sums outlive their donor until the step after is done.
	play(m, Left{"c"})
	check(t, play(m, ended(2, "b", at(4, 1))), []Effect{Form{
		Generation: 3, Nodes: []string{"b"}, FirstStep: 5, LastStep: 9, Sources: []Source{TakeSums}, First: [][]int{{0, 1, 2}},
	}})
}

func TestADonorThatDiesIsReplaced(t *testing.T) {
	m := cluster(4, "a", "b")
	play(m, Joined{Node: "c"}, Prepared{Node: "c"}, ended(1, "a", ahead(2)), ended(1, "b", ahead(2)))
	check(t, play(m, Left{"a"}), []Effect{Donate{Node: "b", Step: 2, State: true}})
	check(t, play(m, Donated{Node: "a"}), nil)
	check(t, play(m, Left{"b"}), []Effect{Form{
		Generation: 2, Nodes: []string{"c"}, LastStep: 9, Sources: []Source{LoadState}, Checkpoint: true, First: [][]int{{0, 1, 2, 3}},
	}})
}

func TestALeaverHandsOverFirst(t *testing.T) {
	m := cluster(2, "a")
	check(t, play(m, Joined{Node: "b"}), []Effect{Prepare{"b"}})
	check(t, play(m, Leaving{"a"}), []Effect{Pause{Generation: 1}})
	check(t, play(m, ended(1, "a", ahead(3))), []Effect{Donate{Node: "a", Step: 3, State: true}})
	check(t, play(m, Donated{Node: "a"}), []Effect{Release{"a"}, Form{
		Generation: 2, Nodes: []string{"b"}, FirstStep: 3, LastStep: 9, Sources: []Source{LoadState}, First: [][]int{{0, 1}},
	}})
	check(t, play(m, Leaving{"b"}), []Effect{Pause{Generation: 2, Save: true}})
	check(t, play(m, Checkpointed{4}, ended(2, "b", ahead(4))), []Effect{Release{"b"}, Wait{Want: 1}})
	check(t, play(m, Leaving{"unknown"}), []Effect{Release{"unknown"}})
}

// TestAMemberThatDoesNotAnswer may have begun or not: the generation is called back from all until
// it says so or is gone, and that is nobody's fault.
func TestAMemberThatDoesNotAnswer(t *testing.T) {
	m := cluster(4, "a", "b")
	silent := Unreached{Node: "b", Err: errors.New("no answer")}
	check(t, play(m, silent), []Effect{CallBack{Generation: 1, Nodes: []string{"a", "b"}}})
	check(t, play(m, silent), []Effect{CallBack{Generation: 1, Nodes: []string{"b"}}})
	check(t, play(m, ended(1, "a", at(0, 0)), ended(1, "b", at(0, 1, 3))), []Effect{Form{
		Generation: 2, Nodes: []string{"a", "b"}, LastStep: 9, Sources: []Source{Keep, Keep}, Checkpoint: true, First: [][]int{{0, 2}, {1, 3}},
	}})
	if m.failures != 0 {
		t.Errorf("%d failures, want none", m.failures)
	}
	check(t, play(m, Joined{Node: "c"}, Unreached{Node: "c"}), []Effect{Prepare{"c"}, Prepare{"c"}})
	check(t, play(m, Prepared{Node: "c"}, ended(2, "a", ahead(1)), ended(2, "b", ahead(1))), []Effect{
		Pause{Generation: 2}, Donate{Node: "a", Step: 1, State: true},
	})
	check(t, play(m, Unreached{Node: "a"}), []Effect{Donate{Node: "a", Step: 1, State: true}})
	check(t, play(m, Unreached{Node: "gone"}), nil)
}

// TestTheLastCopyIsSaved: when all leave a broken ring at once, one saves the state first.
func TestTheLastCopyIsSaved(t *testing.T) {
	m := cluster(2, "a", "b")
	play(m, Leaving{"a"}, Leaving{"b"}, RankDone{Generation: 1, Node: "a", Holding: ahead(3), Err: errors.New("ring broken")})
	check(t, play(m, ended(1, "b", at(2))), []Effect{Release{"b"}, Form{
		Generation: 2, Nodes: []string{"a"}, FirstStep: 3, LastStep: 3, Sources: []Source{Keep}, Save: true, First: [][]int{{0, 1}},
	}})
	check(t, play(m, Checkpointed{3}, ended(2, "a", ahead(3))), []Effect{Release{"a"}, Wait{Want: 1}})
}

// TestWhoLacksTheStateWaitsForIt: only the sums that lead to it are left.
func TestWhoLacksTheStateWaitsForIt(t *testing.T) {
	m := cluster(4, "a", "b")
	play(m, Joined{Node: "c"}, Prepared{Node: "c"}, ended(1, "a", ahead(5)))
	play(m, RankDone{Generation: 1, Node: "b", Holding: at(4), Err: errors.New("ring broken")}, Donated{Node: "a"})
	play(m, Left{"a"})
	check(t, play(m, ended(2, "b", at(4)), ended(2, "c", Holding{})), []Effect{Form{
		Generation: 3, Nodes: []string{"b", "c"}, FirstStep: 5, LastStep: 9, Sources: []Source{TakeSums, LoadState}, First: [][]int{{0, 2}, {1, 3}},
	}})
	m = cluster(4, "a", "b")
	play(m, Left{"none"}, RankDone{Generation: 1, Node: "b", Holding: at(4), Err: errors.New("ring broken")}, ended(1, "a", ahead(5)), Donated{Node: "a"})
	play(m, Joined{Node: "c"}, Prepared{Node: "c"}, Left{"a"})
	check(t, play(m, ended(2, "b", at(4))), []Effect{
		Form{Generation: 3, Nodes: []string{"b"}, FirstStep: 5, LastStep: 9, Sources: []Source{TakeSums}, First: [][]int{{0, 1, 2, 3}}},
		Pause{Generation: 3},
	})
}

// TestTheLastToReachAStepLeaves: the sums that led there are of no use any more, and training goes
// back to the checkpoint.
func TestTheLastToReachAStepLeaves(t *testing.T) {
	m := cluster(4, "a", "b")
	play(m, RankDone{Generation: 1, Node: "b", Holding: at(4), Err: errors.New("ring broken")}, ended(1, "a", ahead(5)), Donated{Node: "a"})
	play(m, Joined{Node: "c"}, Prepared{Node: "c"}, Left{"a"}, Leaving{"b"})
	check(t, play(m, ended(2, "b", at(4))), []Effect{Release{"b"}, Form{
		Generation: 3, Nodes: []string{"c"}, LastStep: 9, Sources: []Source{LoadState}, Checkpoint: true, First: [][]int{{0, 1, 2, 3}},
	}})
}

func TestAFaultThatComesBackEndsTheRun(t *testing.T) {
	m := cluster(1, "a")
	fault := errors.New("ring broken")
	failed := func(g uint64) RankDone { return RankDone{Generation: g, Node: "a", Holding: at(0), Err: fault} }
	play(m, failed(1), Progressed{Generation: 2, Step: 1}, failed(2), failed(3))
	check(t, play(m, failed(4)), []Effect{Finish{Err: fault}})
}

// TestACheckpointThatCannotBeSaved: it is tried again at the same step, and not for ever.
func TestACheckpointThatCannotBeSaved(t *testing.T) {
	for _, stop := range []bool{false, true} {
		m := New(Config{MinWorkers: 1, MicroBatches: 1, Steps: 9, SaveEvery: 6}, 0)
		play(m, TrainingReady{}, Joined{Node: "a"})
		if stop {
			play(m, StopRequested{})
		}
		full := errors.New("no space left on device")
		play(m, Progressed{Generation: 1, Step: 6})
		for generation := range uint64(2) {
			effects := play(m, RankDone{Generation: generation + 1, Node: "a", Holding: ahead(6), Err: full})
			if form, again := effects[0].(Form); len(effects) != 1 || !again || !form.Save || form.FirstStep != 6 {
				t.Fatalf("generation %d: %+v, want one that saves step 6 first", generation+1, effects)
			}
		}
		check(t, play(m, RankDone{Generation: 3, Node: "a", Holding: ahead(6), Err: full}), []Effect{Finish{Err: full}})
	}
}

func TestAMemberThatCannotLoadIsLeftOut(t *testing.T) {
	m := cluster(2, "a", "b")
	fault := errors.New("no room")
	play(m, RankDone{Generation: 1, Node: "b", Err: fault}, ended(1, "a", at(0)), RankDone{Generation: 2, Node: "b", Err: fault})
	check(t, play(m, ended(2, "a", at(0))), []Effect{Form{
		Generation: 3, Nodes: []string{"a"}, LastStep: 9, Sources: []Source{Keep}, Checkpoint: true, First: [][]int{{0, 1}},
	}})
}

// TestARankThatFailsAtTheEnd: the others are complete, but the last checkpoint is missing.
func TestARankThatFailsAtTheEnd(t *testing.T) {
	m := cluster(2, "a", "b")
	play(m, ended(1, "b", ahead(9)))
	check(t, play(m, RankDone{Generation: 1, Node: "a", Holding: ahead(9), Err: errors.New("not saved")}), []Effect{Form{
		Generation: 2, Nodes: []string{"a", "b"}, FirstStep: 9, LastStep: 9, Sources: []Source{Keep, Keep}, Save: true, First: [][]int{{0}, {1}},
	}})
	play(m, Left{"a"})
	check(t, play(m, ended(2, "b", ahead(9))), []Effect{Form{
		Generation: 3, Nodes: []string{"b"}, FirstStep: 9, LastStep: 9, Sources: []Source{Keep}, Save: true, First: [][]int{{0, 1}},
	}})
	check(t, play(m, Checkpointed{9}, ended(3, "b", ahead(9))), []Effect{Finish{Complete: true}})
}

func TestStop(t *testing.T) {
	m := cluster(1, "a")
	check(t, play(m, StopRequested{}, StopRequested{}), []Effect{Pause{Generation: 1, Save: true}})
	check(t, play(m, Checkpointed{2}, ended(1, "a", ahead(2))), []Effect{Finish{}})

	idle := New(Config{MinWorkers: 1, MicroBatches: 1, Steps: 1}, 0)
	check(t, play(idle, StopRequested{}), []Effect{Finish{}})
}

func TestAStopThatLosesItsCheckpointSavesAgain(t *testing.T) {
	m := cluster(2, "a", "b")
	play(m, StopRequested{}, Left{"a"})
	check(t, play(m, ended(1, "b", ahead(3))), []Effect{Form{
		Generation: 2, Nodes: []string{"b"}, FirstStep: 3, LastStep: 3, Sources: []Source{Keep}, Save: true, First: [][]int{{0, 1}},
	}})
	check(t, play(m, Checkpointed{3}, ended(2, "b", ahead(3))), []Effect{Finish{}})
}

func TestRanksBeyondTheMicroBatchesStandBy(t *testing.T) {
	m := cluster(1, "a")
	check(t, play(m, Joined{Node: "b"}), nil)
	check(t, play(m, Left{"a"}), []Effect{Form{
		Generation: 2, Nodes: []string{"b"}, LastStep: 9, Sources: []Source{LoadState}, Checkpoint: true, First: [][]int{{0}},
	}})
}

// TestWhoPreparesHoldsNothing: one that comes late with a state of before prepares from nothing, so it is not
// asked to go on with what it held.
func TestWhoPreparesHoldsNothing(t *testing.T) {
	m := cluster(4, "a")
	check(t, play(m, Joined{Node: "b", Holding: ahead(2)}), []Effect{Prepare{"b"}})
	effects := play(m, ended(1, "a", ahead(3)))
	if form, ok := effects[0].(Form); !ok || len(form.Nodes) != 1 {
		t.Fatalf("effects %+v, want a generation of a alone", effects)
	}
	effects = play(m, Prepared{Node: "b"}, ended(2, "a", ahead(4)), Donated{Node: "a"})
	form, ok := effects[len(effects)-1].(Form)
	if !ok || len(form.Nodes) != 2 || form.Sources[1] != LoadState {
		t.Fatalf("effects %+v, want a generation in which b loads the state", effects)
	}
}

// TestNobodyPreparesWhatIsNeeded: before the first generation of a coordinator that took the run up, one that
// joins while a state is handed over takes nothing from those that hold it.
func TestNobodyPreparesWhatIsNeeded(t *testing.T) {
	m := New(Config{MinWorkers: 2, MicroBatches: 4, Steps: 9}, 1)
	play(m, Joined{Node: "a", Holding: ahead(5)}, Joined{Node: "b", Holding: ahead(4)})
	check(t, play(m, TrainingReady{}), []Effect{Donate{Node: "a", Step: 5, Sums: true}})
	check(t, play(m, Joined{Node: "c"}), []Effect{Prepare{"c"}})
}
