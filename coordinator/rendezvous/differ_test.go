package rendezvous

import (
	"errors"
	"testing"
)

func suspect(node, digest string) Suspect { return Suspect{Node: node, Digest: digest} }

var errDiffer = errors.New("replicas differ")

// differ ends generation g at the nodes, one of which says what differs.
func differ(m *Machine, g uint64, step int, wrong, undecided []Suspect, nodes ...string) []Effect {
	effects := play(m, Differed{Generation: g, Step: step, Wrong: wrong, Undecided: undecided})
	for _, n := range nodes {
		effects = append(effects, play(m, RankDone{Generation: g, Node: n, Holding: ahead(step, 0), Err: errDiffer})...)
	}
	return effects
}

// TestAWrongStateIsPutOut: the others go on at once with what they have, and it comes back as a
// joiner does; what it says it holds is nothing.
func TestAWrongStateIsPutOut(t *testing.T) {
	m := cluster(3, "a", "b", "c")
	b := suspect("b", "x")
	check(t, differ(m, 1, 5, []Suspect{b}, nil, "b", "a", "c"), []Effect{
		PutOut{Suspect: b, Step: 5},
		CallBack{Generation: 1, Nodes: []string{"a", "c"}},
		Form{Generation: 2, Nodes: []string{"a", "c"}, FirstStep: 5, LastStep: 9, Sources: []Source{Keep, Keep}, First: [][]int{{0, 1}, {2}}},
		Prepare{"b"},
	})
	check(t, play(m, Differed{Generation: 1, Step: 5, Wrong: []Suspect{b}}), nil) // Said twice.
	play(m, Prepared{Node: "b"}, ended(2, "a", ahead(6)))
	check(t, play(m, ended(2, "c", ahead(6))), []Effect{Donate{Node: "a", Step: 6, State: true}})
	play(m, Donated{Node: "a"})
	// Again within the probation: for good.
	check(t, differ(m, 3, 7, []Suspect{b}, nil, "a", "b", "c"), []Effect{
		PutOut{Suspect: b, Step: 7, Final: true},
		CallBack{Generation: 3, Nodes: []string{"b", "c"}},
		Form{Generation: 4, Nodes: []string{"a", "c"}, FirstStep: 7, LastStep: 9, Sources: []Source{Keep, Keep}, First: [][]int{{0, 1}, {2}}},
	})
}

// TestAloneAndWrong: nothing but the checkpoint is left, and the second time ends the run.
func TestAloneAndWrong(t *testing.T) {
	m := cluster(2, "a")
	a := suspect("a", "x")
	check(t, differ(m, 1, 5, []Suspect{a}, nil, "a"), []Effect{
		PutOut{Suspect: a, Step: 5},
		Form{Generation: 2, Nodes: []string{"a"}, LastStep: 9, Sources: []Source{LoadState}, Checkpoint: true, First: [][]int{{0, 1}}},
	})
	effects := differ(m, 2, 3, []Suspect{a}, nil, "a")
	if f, ok := effects[len(effects)-1].(Finish); !ok || f.Err == nil {
		t.Errorf("effects %+v, want the end with an error", effects)
	}
}

// TestWithoutAMajorityTheStepsAreComputedAgain, and what comes out names the wrong one.
func TestWithoutAMajorityTheStepsAreComputedAgain(t *testing.T) {
	m := cluster(2, "a", "b")
	a, b := suspect("a", "x"), suspect("b", "y")
	check(t, differ(m, 1, 5, nil, []Suspect{a, b}, "a", "b"), []Effect{
		Undecided{Step: 5, Suspects: []Suspect{a, b}},
		CallBack{Generation: 1, Nodes: []string{"b"}},
		Form{Generation: 2, Nodes: []string{"a", "b"}, LastStep: 9, Sources: []Source{LoadState, LoadState}, Checkpoint: true, First: [][]int{{0}, {1}}},
	})
	check(t, play(m, Progressed{Generation: 2, Step: 4, Digest: "z"}), nil)
	a.Want = "y"
	check(t, play(m, Progressed{Generation: 2, Step: 5, Digest: "y"}), []Effect{PutOut{Suspect: a, Step: 5}})
	check(t, play(m, Progressed{Generation: 2, Step: 5, Digest: "y"}), nil)
	// It is wrong again: it goes for good, and the other keeps what it has.
	a.Want = ""
	check(t, differ(m, 2, 6, []Suspect{a}, nil, "a", "b"), []Effect{
		PutOut{Suspect: a, Step: 6, Final: true},
		CallBack{Generation: 2, Nodes: []string{"b"}},
		Form{Generation: 3, Nodes: []string{"b"}, FirstStep: 6, LastStep: 9, Sources: []Source{Keep}, First: [][]int{{0, 1}}},
	})
}

// TestADonorWhoseStateChanged is put out, and another one hands over.
func TestADonorWhoseStateChanged(t *testing.T) {
	m := cluster(4, "a", "b")
	play(m, Joined{Node: "c"}, Prepared{Node: "c"}, ended(1, "a", ahead(2)), ended(1, "b", ahead(2)))
	a := suspect("a", "x")
	check(t, play(m, Differed{Generation: 1, Step: 2, Wrong: []Suspect{a}}, Donated{Node: "a", Err: errDiffer}), []Effect{
		PutOut{Suspect: a, Step: 2}, Donate{Node: "b", Step: 2, State: true},
	})
}

// TestAWrongGradient: who computed it is put out; alone, it computes the step again with the state
// that it has; without a majority the step is computed again by all, until that leads nowhere.
func TestAWrongGradient(t *testing.T) {
	gradient := func(step int, wrong, undecided []Suspect) Differed {
		return Differed{Generation: 1, Step: step, Wrong: wrong, Undecided: undecided, Gradient: "micro-batch 0"}
	}
	a, b := suspect("a", "x"), suspect("b", "y")
	m := cluster(2, "a", "b")
	play(m, gradient(3, []Suspect{a}, nil), RankDone{Generation: 1, Node: "a", Holding: at(3, 0), Err: errDiffer})
	check(t, play(m, RankDone{Generation: 1, Node: "b", Holding: at(3, 1), Err: errDiffer}), []Effect{
		Form{Generation: 2, Nodes: []string{"b"}, FirstStep: 3, LastStep: 9, Sources: []Source{Keep}, First: [][]int{{0, 1}}}, Prepare{"a"},
	})
	m = cluster(2, "a")
	check(t, play(m, gradient(3, []Suspect{a}, nil), RankDone{Generation: 1, Node: "a", Holding: at(3), Err: errDiffer}), []Effect{
		PutOut{Suspect: a, Gradient: "micro-batch 0", Step: 3},
		Form{Generation: 2, Nodes: []string{"a"}, FirstStep: 3, LastStep: 9, Sources: []Source{Keep}, First: [][]int{{0, 1}}},
	})
	m = cluster(2, "a", "b")
	both := []Suspect{a, b}
	check(t, play(m, gradient(3, nil, both), gradient(3, nil, both)), []Effect{Undecided{Step: 3, Suspects: both, Gradient: "micro-batch 0"}})
	for g := range uint64(maxFailures) {
		effects := play(m, RankDone{Generation: g + 1, Node: "a", Holding: at(3), Err: errDiffer}, RankDone{Generation: g + 1, Node: "b", Holding: at(3), Err: errDiffer})
		last := effects[len(effects)-1]
		if f, ok := last.(Finish); ok != (g == maxFailures-1) || ok && f.Err == nil {
			t.Errorf("time %d ends with %+v", g+1, last)
		}
	}
}
