package rendezvous_test

import (
	"errors"
	"slices"
	"testing"

	"yohaku/coordinator/rendezvous"
	"yohaku/internal/epoch"
)

func TestClaim(t *testing.T) {
	type gen = rendezvous.Generation
	at := func(count, number uint64) gen { return gen{count * epoch.First, number} }
	rank := func(node string, alive bool, g gen, ranks ...string) rendezvous.Standing {
		return rendezvous.Standing{Node: node, Coordinator: "old", Alive: alive, Highest: g, Ranks: ranks}
	}
	three := rendezvous.Record{Generation: at(1, 4), Ranks: []string{"a", "b", "c"}}
	for name, tc := range map[string]struct {
		record          rendezvous.Record
		heard           []rendezvous.Standing
		takeover, force bool
		want            gen
		held, minority  bool
	}{
		"a new run":                     {want: at(1, 0)},
		"a run taken up alone":          {record: three, want: at(2, 4)},
		"its coordinator died":          {record: three, heard: []rendezvous.Standing{rank("a", false, at(1, 4), "a", "b", "c")}, want: at(2, 4)},
		"workers know more":             {record: three, heard: []rendezvous.Standing{rank("a", false, at(3, 9), "a", "b", "c")}, want: at(4, 9)},
		"the number of one":             {record: three, heard: []rendezvous.Standing{rank("a", false, at(3, 2), "a"), rank("b", false, at(1, 7), "b")}, want: at(4, 7)},
		"a living one holds it":         {record: three, heard: []rendezvous.Standing{rank("a", false, at(1, 4)), rank("b", true, at(1, 4))}, held: true},
		"taken over by a majority":      {record: three, heard: []rendezvous.Standing{rank("a", true, at(1, 4)), rank("b", true, at(1, 4))}, takeover: true, want: at(2, 4)},
		"one of three is no majority":   {record: three, heard: []rendezvous.Standing{rank("a", true, at(1, 4))}, takeover: true, minority: true},
		"but may be forced":             {record: three, heard: []rendezvous.Standing{rank("a", true, at(1, 4))}, takeover: true, force: true, want: at(2, 4)},
		"the last generation counts":    {record: three, heard: []rendezvous.Standing{rank("a", true, at(1, 6), "a")}, takeover: true, want: at(2, 6)},
		"half of two is no majority":    {record: three, heard: []rendezvous.Standing{rank("a", true, at(1, 6), "a", "b")}, takeover: true, minority: true},
		"standing by is no vote":        {record: three, heard: []rendezvous.Standing{rank("a", true, at(1, 4)), rank("x", true, at(1, 0)), rank("y", true, at(1, 0))}, takeover: true, minority: true},
		"a takeover from nobody living": {record: three, heard: []rendezvous.Standing{rank("a", false, at(1, 4))}, takeover: true, want: at(2, 4)},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := rendezvous.Claim(tc.record, tc.heard, 0, tc.takeover, tc.force)
			var held *rendezvous.HeldError
			var minority *rendezvous.MinorityError
			if got != tc.want || errors.As(err, &held) != tc.held || errors.As(err, &minority) != tc.minority || (err != nil) != (tc.held || tc.minority) {
				t.Errorf("%v, error %v; want %v, held %v, minority %v", got, err, tc.want, tc.held, tc.minority)
			}
		})
	}
}

// TestAHoldingThatIsBroughtAlong: ranks of a coordinator that died go on where they stand, and only
// what none of them has in its partial sums is computed again.
func TestAHoldingThatIsBroughtAlong(t *testing.T) {
	m := rendezvous.New(rendezvous.Config{MinWorkers: 3, MicroBatches: 4, Steps: 9, Checkpoint: 2}, 6)
	m.Step(rendezvous.Joined{Node: "a", Holding: rendezvous.Holding{Loaded: true, Applied: 5, Sums: true, Partial: []int{0, 2}}})
	m.Step(rendezvous.Joined{Node: "b", Holding: rendezvous.Holding{Loaded: true, Applied: 4, Sums: true}})
	effects := m.Step(rendezvous.TrainingReady{})
	if len(effects) != 1 || effects[0] != (rendezvous.Donate{Node: "a", Step: 5, Sums: true}) {
		t.Fatalf("%+v, want that a hands the sums of step 5 over", effects)
	}
	f, ok := m.Step(rendezvous.Donated{Node: "a"})[0].(rendezvous.Form)
	if !ok || f.Generation != 7 || f.FirstStep != 5 || !slices.Equal(f.Sources, []rendezvous.Source{rendezvous.Keep, rendezvous.TakeSums}) {
		t.Fatalf("%+v, want generation 7 at step 5 from what is in memory", f)
	}
	if !slices.Contains(f.First[0], 0) || !slices.Contains(f.First[0], 2) {
		t.Errorf("first step's shares %v, want 0 and 2 at rank 0, which has them", f.First)
	}
}
