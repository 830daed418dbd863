package sim

import (
	"flag"
	"math/rand/v2"
	"strings"
	"testing"
)

var (
	oneSeed = flag.Int64("sim.seed", -1, "play this seed only, and show what happens")
	runs    = flag.Int("sim.runs", 1000, "how many seeds to play")
)

// config draws a cluster and its faults from a seed.
func config(seed uint64) Config {
	r := rand.New(rand.NewPCG(seed, 2))
	c := Config{
		Seed: seed, Workers: 2 + r.IntN(8), Steps: 12 + r.IntN(20), MicroBatches: 1 + r.IntN(12), SaveEvery: r.IntN(3) * 5,
		Kills: r.IntN(5), Joins: r.IntN(5), Freezes: r.IntN(3), Cuts: r.IntN(3), GivenUp: r.IntN(2), Leaves: r.IntN(3),
		ReduceKills: r.IntN(4), Stop: r.IntN(8) == 0, LossRate: 0.01 * float64(r.IntN(3)), Flips: r.IntN(3), Slows: r.IntN(3),
		Splits: r.IntN(2), DuplicateRate: 0.01 * float64(r.IntN(3)), DelayRate: 0.01 * float64(r.IntN(3)),
	}
	if r.IntN(4) == 0 { // An update's flip is found by who else makes the update, so they live.
		c.UpdateFlips = 1 + r.IntN(2)
		c.Kills, c.Freezes, c.Cuts, c.GivenUp, c.Leaves, c.ReduceKills, c.Splits = 0, 0, 0, 0, 0, 0, 0
	}
	return c
}

// TestFaultsChangeNoBit: a cluster that loses, freezes, cuts off and takes in workers ends on the
// checkpoint of one undisturbed worker, with every step in its log once.
func TestFaultsChangeNoBit(t *testing.T) {
	if *oneSeed >= 0 {
		result := Run(config(uint64(*oneSeed)))
		t.Logf("%+v\n%s", config(uint64(*oneSeed)), strings.Join(result.Trace, "\n"))
		if result.Err != nil {
			t.Error(result.Err)
		}
		return
	}
	var taken, kept, rewinds, over, putOut, undecided, followed int
	var generations uint64
	for seed := range uint64(*runs) {
		result := Run(config(seed))
		if result.Err != nil {
			t.Errorf("seed %d: %v; replay with -sim.seed=%d", seed, result.Err, seed)
		}
		putOut, undecided = putOut+result.PutOut, undecided+result.Undecided
		taken, kept, rewinds, generations = taken+result.Taken, kept+result.Kept, rewinds+result.Rewinds, generations+result.Generations
		over += result.TakenOver
		followed += result.Followed
	}
	t.Logf("%d clusters, %d generations, %d times sums taken, %d micro-batches kept, %d taken over, %d times back to a checkpoint, %d wrong states named, %d times without a majority, %d rings followed",
		*runs, generations, taken, kept, over, rewinds, putOut, undecided, followed)
	if *runs >= 200 && (taken < *runs/10 || kept == 0 || over < *runs || rewinds == 0 || putOut < *runs/4 || undecided == 0 || followed < *runs/4 || generations < uint64(2**runs)) {
		t.Error("the faults do not reach what they are to reach")
	}
}

// TestUndisturbed: without faults, every cluster takes one generation and ends alike.
func TestUndisturbed(t *testing.T) {
	for workers := range 5 {
		result := Run(Config{Workers: workers + 1, Steps: 20, MicroBatches: 6})
		if result.Err != nil || result.Generations != 1 {
			t.Errorf("%d workers: %d generations, %v", workers+1, result.Generations, result.Err)
		}
	}
}

// TestAStragglerIsRelieved: within the step in which a worker becomes slow, the others take over what it
// has not begun, and the digest stays what it was.
func TestAStragglerIsRelieved(t *testing.T) {
	var slow, relieved int
	for seed := range uint64(20) {
		result := Run(Config{Seed: seed, Workers: 3, Steps: 20, MicroBatches: 20, Slows: 3})
		if result.Err != nil || result.Generations != 1 {
			t.Errorf("seed %d: %d generations, %v", seed, result.Generations, result.Err)
		}
		slow += 3
		relieved += result.TakenOver
	}
	if relieved < slow {
		t.Errorf("%d micro-batches taken over while %d workers became slow", relieved, slow)
	}
}

// TestTheChecksCatch: a check that cannot fail is none.
func TestTheChecksCatch(t *testing.T) {
	s := &cluster{Config: Config{MicroBatches: 4}, want: single(3, 4)}
	k := &coordinator{s: s}
	k.keepStep(stepReport{step: 1, digest: s.want[1], shares: [][]int{{0, 1}, {1, 2, 3}}})
	if s.result.Err == nil {
		t.Error("a micro-batch in two shares passes")
	}
	var once, twice state
	var a, b sums
	once.add(&a, 0)
	twice.add(&b, 0)
	twice.add(&b, 0)
	once.apply(a)
	twice.apply(b)
	if once.digest() == twice.digest() {
		t.Error("a micro-batch that counts twice passes")
	}
	if single(5, 3)[5] == single(5, 4)[5] {
		t.Error("a micro-batch that does not count passes")
	}
}
