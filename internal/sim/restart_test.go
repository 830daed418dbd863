package sim

import (
	"flag"
	"math/rand/v2"
	"strings"
	"testing"
)

var (
	restartSeed = flag.Int64("sim.restart-seed", -1, "play this seed of clusters whose coordinator crashes only, and show what happens")
	restartRuns = flag.Int("sim.restart-runs", 500, "how many seeds of clusters whose coordinator crashes to play")
)

// restarting draws a cluster whose coordinators crash, or have a rival, beside the other faults.
func restarting(seed uint64) Config {
	c := config(seed)
	r := rand.New(rand.NewPCG(seed, 3))
	c.Crashes, c.Copies = 1+r.IntN(3), r.IntN(3)
	switch r.IntN(3) {
	case 0: // Alone, or nearly so.
		c.Kills, c.Freezes, c.Cuts, c.GivenUp, c.Leaves, c.ReduceKills, c.Splits, c.Flips, c.UpdateFlips = r.IntN(2), 0, 0, 0, 0, 0, 0, 0, 0
	case 1:
		c.Flips, c.UpdateFlips = 0, 0
	}
	return c
}

// TestACoordinatorThatComesBackChangesNoBit: whatever becomes of the coordinator, the run ends on the
// checkpoint of one undisturbed worker.
func TestACoordinatorThatComesBackChangesNoBit(t *testing.T) {
	if *restartSeed >= 0 {
		c := restarting(uint64(*restartSeed))
		result := Run(c)
		t.Logf("%+v\n%s", c, strings.Join(result.Trace, "\n"))
		if result.Err != nil {
			t.Error(result.Err)
		}
		return
	}
	var sum Result
	for seed := range uint64(*restartRuns) {
		r := Run(restarting(seed))
		if r.Err != nil {
			t.Errorf("seed %d: %v; replay with -sim.restart-seed=%d", seed, r.Err, seed)
		}
		sum.Restarts, sum.TakenUp, sum.Refused, sum.Fenced = sum.Restarts+r.Restarts, sum.TakenUp+r.TakenUp, sum.Refused+r.Refused, sum.Fenced+r.Fenced
		sum.Rewinds, sum.Generations = sum.Rewinds+r.Rewinds, sum.Generations+r.Generations
	}
	t.Logf("%d clusters, %d coordinators started again, %d times that a worker's state was taken up, %d refused, %d fenced, %d times back to a checkpoint, %d generations",
		*restartRuns, sum.Restarts, sum.TakenUp, sum.Refused, sum.Fenced, sum.Rewinds, sum.Generations)
	if n := *restartRuns; n >= 200 && (sum.Restarts < n || sum.TakenUp < 2*n || sum.Refused < n/8 || sum.Fenced < n/8) {
		t.Error("the faults do not reach what they are to reach")
	}
}
