package rendezvous

import (
	"errors"
	"fmt"
	"math/rand/v2"
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
	if diff := cmp.Diff(want, got, cmpopts.EquateErrors(), cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("effects (-want +got):\n%s", diff)
	}
}

func TestFirstGenerationWaitsForMinWorkers(t *testing.T) {
	m := New(Config{MinWorkers: 2, MicroBatches: 4}, 0)
	check(t, play(m, Joined{"a"}, TrainingReady{}), []Effect{Wait{Have: 1, Want: 2}})
	check(t, play(m, Joined{"a"}, Joined{"b"}),
		[]Effect{Form{Generation: 1, Nodes: []string{"a", "b"}, Assignment: [][]int{{0, 1}, {2, 3}}}})
	check(t, play(m, RankDone{Generation: 1, Node: "a", Complete: true}), nil)
	check(t, play(m, RankDone{Generation: 1, Node: "b", Complete: true}), []Effect{Finish{Complete: true}})
	check(t, play(m, Joined{"c"}), nil)
}

func TestAJoinerEntersAtAStepBoundary(t *testing.T) {
	m := New(Config{MinWorkers: 1, MicroBatches: 4}, 6)
	play(m, TrainingReady{}, Joined{"a"})
	check(t, play(m, Joined{"b"}), []Effect{Pause{Generation: 7}})
	check(t, play(m, RankDone{Generation: 7, Node: "a"}),
		[]Effect{Form{Generation: 8, Nodes: []string{"a", "b"}, Assignment: [][]int{{0, 1}, {2, 3}}}})
}

func TestALostRankBringsTheSurvivorsBack(t *testing.T) {
	m := New(Config{MinWorkers: 3, MicroBatches: 3}, 0)
	play(m, TrainingReady{}, Joined{"a"}, Joined{"b"}, Joined{"c"})
	check(t, play(m, Left{"b"}), []Effect{CallBack{Generation: 1, Nodes: []string{"a", "c"}}})
	check(t, play(m, RankDone{Generation: 1, Node: "c", Err: errors.New("ring broken")}), nil)
	check(t, play(m, RankDone{Generation: 1, Node: "a"}),
		[]Effect{Form{Generation: 2, Nodes: []string{"a", "c"}, Assignment: [][]int{{0, 1}, {2}}}})
	check(t, play(m, Left{"a"}), []Effect{CallBack{Generation: 2, Nodes: []string{"c"}}})
	check(t, play(m, Left{"c"}), []Effect{Wait{Have: 0, Want: 1}})
	check(t, play(m, Joined{"d"}), []Effect{Form{Generation: 3, Nodes: []string{"d"}, Assignment: [][]int{{0, 1, 2}}}})
}

func TestAFaultThatComesBackEndsTheRun(t *testing.T) {
	m := New(Config{MinWorkers: 1, MicroBatches: 1}, 0)
	play(m, TrainingReady{}, Joined{"a"})
	fault := errors.New("tensor missing")
	play(m, RankDone{Generation: 1, Node: "a", Err: fault})
	play(m, Progressed{Generation: 2, Step: 1}, RankDone{Generation: 2, Node: "a", Err: fault})
	play(m, RankDone{Generation: 3, Node: "a", Err: fault})
	check(t, play(m, RankDone{Generation: 4, Node: "a", Err: fault}), []Effect{Finish{Err: fault}})
}

// TestStepsDoneAgainAreNoProgress: a checkpoint that cannot be saved fails at the same step for ever.
func TestStepsDoneAgainAreNoProgress(t *testing.T) {
	m := New(Config{MinWorkers: 1, MicroBatches: 1}, 0)
	play(m, TrainingReady{}, Joined{"a"})
	full := errors.New("no space left on device")
	for generation := range uint64(2) {
		effects := play(m, Progressed{Generation: generation + 1, Step: 6}, RankDone{Generation: generation + 1, Node: "a", Err: full})
		if _, again := effects[0].(Form); len(effects) != 1 || !again {
			t.Fatalf("generation %d: %v, want another one", generation+1, effects)
		}
	}
	check(t, play(m, Progressed{Generation: 3, Step: 6}, RankDone{Generation: 3, Node: "a", Err: full}), []Effect{Finish{Err: full}})
}

// TestARankThatFailsAtTheEnd: the others are complete, but the last checkpoint may be missing.
func TestARankThatFailsAtTheEnd(t *testing.T) {
	m := New(Config{MinWorkers: 2, MicroBatches: 2}, 0)
	play(m, TrainingReady{}, Joined{"a"}, Joined{"b"})
	play(m, RankDone{Generation: 1, Node: "b", Complete: true})
	check(t, play(m, RankDone{Generation: 1, Node: "a", Err: errors.New("not saved")}),
		[]Effect{Form{Generation: 2, Nodes: []string{"a", "b"}, Assignment: [][]int{{0}, {1}}}})
	play(m, Left{"a"})
	check(t, play(m, RankDone{Generation: 2, Node: "b", Complete: true}),
		[]Effect{Form{Generation: 3, Nodes: []string{"b"}, Assignment: [][]int{{0, 1}}}})
	check(t, play(m, RankDone{Generation: 3, Node: "b", Complete: true}), []Effect{Finish{Complete: true}})
}

func TestStopThatSavesNothing(t *testing.T) {
	m := New(Config{MinWorkers: 1, MicroBatches: 1}, 0)
	play(m, TrainingReady{}, Joined{"a"}, StopRequested{})
	full := errors.New("no space left on device")
	check(t, play(m, RankDone{Generation: 1, Node: "a", Err: full}), []Effect{Finish{Err: full}})
}

func TestStop(t *testing.T) {
	m := New(Config{MinWorkers: 1, MicroBatches: 1}, 0)
	play(m, TrainingReady{}, Joined{"a"})
	check(t, play(m, StopRequested{}, StopRequested{}), []Effect{Pause{Generation: 1}})
	check(t, play(m, RankDone{Generation: 1, Node: "a"}), []Effect{Finish{}})

	idle := New(Config{MinWorkers: 1, MicroBatches: 1}, 0)
	check(t, play(idle, StopRequested{}), []Effect{Finish{}})
}

func TestRanksBeyondTheMicroBatchesStandBy(t *testing.T) {
	m := New(Config{MinWorkers: 1, MicroBatches: 1}, 0)
	play(m, TrainingReady{}, Joined{"a"})
	check(t, play(m, Joined{"b"}), nil)
	check(t, play(m, Left{"a"}), []Effect{Form{Generation: 2, Nodes: []string{"b"}, Assignment: [][]int{{0}}}})
}

// TestInvariants: under random events generations only grow, at most one is live, and each is
// formed of present members with every micro-batch assigned once.
func TestInvariants(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		m := New(Config{MinWorkers: 1 + r.IntN(3), MicroBatches: 1 + r.IntN(6)}, 0)
		present, live := map[string]bool{}, map[string]bool{}
		var last uint64
		for range 200 {
			node := fmt.Sprint("n", r.IntN(5))
			var ev Event
			switch r.IntN(5) {
			case 0:
				ev, present[node] = Joined{node}, true
			case 1:
				ev = Left{node}
				delete(present, node)
				delete(live, node)
			case 2:
				ev = TrainingReady{}
			case 3:
				ev = Progressed{Generation: last}
			default:
				ev = RankDone{Generation: last, Node: node}
				delete(live, node)
			}
			for _, effect := range m.Step(ev) {
				form, ok := effect.(Form)
				if !ok {
					continue
				}
				if form.Generation <= last || len(live) > 0 {
					t.Fatalf("seed %d: generation %d after %d with %v live", seed, form.Generation, last, live)
				}
				last = form.Generation
				count := 0
				for rank, node := range form.Nodes {
					if !present[node] {
						t.Fatalf("seed %d: %s is ranked but gone", seed, node)
					}
					live[node] = true
					count += len(form.Assignment[rank])
				}
				if count != m.c.MicroBatches {
					t.Fatalf("seed %d: %d micro-batches assigned, want %d", seed, count, m.c.MicroBatches)
				}
			}
		}
	}
}
