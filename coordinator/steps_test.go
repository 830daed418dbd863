package coordinator

import (
	"testing"

	"yohaku/coordinator/rendezvous"
	"yohaku/internal/wire"
)

// TestWhatNobodyReportsIsVoid: a rank whose state was void when the run was taken up may say that it holds it
// still, when the generation ended in which it was to load another.
func TestWhatNobodyReportsIsVoid(t *testing.T) {
	for _, tc := range []struct {
		name    string
		applied int
		want    bool
	}{
		{"in the ledger", 4, true},
		{"reported", 5, true},
		{"not reported", 7, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := testCoordinator()
			c.training = trainingState{generation: 3, step: 4, held: map[string]map[int]wire.StepReport{"a": {5: {Step: 5}, 7: {Step: 7}}}}
			events := c.rankDone("a", wire.Done{Holding: &wire.Holding{Loaded: true, Applied: tc.applied}})
			done, ok := events[len(events)-1].(rendezvous.RankDone)
			if !ok || done.Holding.Loaded != tc.want {
				t.Errorf("events %+v, want a holding: %v", events, tc.want)
			}
		})
	}
}
