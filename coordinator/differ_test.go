package coordinator

import (
	"testing"

	"yohaku/coordinator/rendezvous"
	"yohaku/internal/wire"
)

// TestAWrongStateIsDistrustedUntilItIsLoadedAnew: a rank whose state was wrong in one generation and that
// loaded the state in the next holds it, though that one ended before a step; a rank that never began the
// next one still holds the wrong state.
func TestAWrongStateIsDistrustedUntilItIsLoadedAnew(t *testing.T) {
	held := wire.Holding{Loaded: true, Applied: 4}
	for _, tc := range []struct {
		name    string
		wrongIn uint64
		anew    bool
		want    rendezvous.Holding
		stays   bool
	}{
		{"never wrong", 0, false, rendezvous.Holding(held), false},
		{"loaded since", 2, true, rendezvous.Holding(held), false},
		{"not begun since", 2, false, rendezvous.Holding{}, true},
		{"wrong in this generation", 3, true, rendezvous.Holding{}, true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := testCoordinator()
			c.training = trainingState{generation: 3, step: 4, distrusted: map[string]distrust{}}
			c.training.held = map[string]map[int]wire.StepReport{"a": {5: {Step: 5, Generation: 2}, 6: {Step: 6, Generation: 3}}}
			if tc.wrongIn > 0 {
				c.training.distrusted["a"] = distrust{tc.wrongIn, 5}
			}
			events := c.rankDone("a", wire.Done{Anew: tc.anew, Holding: &held})
			done, ok := events[len(events)-1].(rendezvous.RankDone)
			if !ok || done.Holding.Loaded != tc.want.Loaded || done.Holding.Applied != tc.want.Applied {
				t.Errorf("events %+v, want holding %+v", events, tc.want)
			}
			if _, distrusted := c.training.distrusted["a"]; distrusted != tc.stays {
				t.Errorf("distrusted %v, want %v", distrusted, tc.stays)
			}
			if _, kept := c.training.held["a"][5]; kept != (tc.name != "loaded since") {
				t.Errorf("the report of generation 2 stands: %v", kept)
			}
		})
	}
}
