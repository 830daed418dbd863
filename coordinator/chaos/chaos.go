// Package chaos hurts a run that is going on, one fault after the other, and measures how it
// recovers: it kills, freezes and cuts off workers, has further ones join, and kills the coordinator and starts it again. It stands outside of the run, as its operator does: it reads the API, signals
// processes of this machine, and sends orders to workers elsewhere that allow it.
//
// Invariants: a signal goes only to a process whose command line says that it is a worker of this
// run, or that has the run's lock; the next fault waits until the one before is recovered; the last worker is never hurt.
package chaos

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// Kind is a kind of fault.
type Kind string

// The kinds of faults.
const (
	Kill      Kind = "kill"      // kill -9.
	Freeze    Kind = "freeze"    // SIGSTOP, and SIGCONT later.
	Partition Kind = "partition" // Nothing from the network arrives for a while.
	Join      Kind = "join"      // A further local worker.

	CoordinatorKill Kind = "coordinator-kill" // kill -9, and the same command again later.
)

// Config says what is to happen.
type Config struct {
	Kills, Freezes, Joins, Partitions, CoordinatorKills int

	Out    string                                           // The folder that holds the run folders.
	Holder func(dir string) (pid int, held bool, err error) // Whose the lock of a run folder is, or was when it is not held.

	Seed         uint64
	FreezeFor    time.Duration
	PartitionFor time.Duration
	AwayFor      time.Duration // Until a coordinator that was killed is started again.
	Pause        time.Duration // Between faults, at most.
	Limit        time.Duration // For the recovery of one fault.
	Replace      bool          // Start a local worker for each that is killed.
}

// maxFaults bounds the faults of one kind.
const maxFaults = 1000

// Validate returns the first rule that the configuration breaks, under the names of the flags.
func (c Config) Validate() error {
	total := 0
	for _, f := range []struct {
		flag string
		n    int
	}{{"kill", c.Kills}, {"freeze", c.Freezes}, {"join", c.Joins}, {"partition", c.Partitions}, {"coordinator-kill", c.CoordinatorKills}} {
		if f.n < 0 || f.n > maxFaults {
			return fmt.Errorf("--%s must be 0 to %d, got %d", f.flag, maxFaults, f.n)
		}
		total += f.n
	}
	if total == 0 {
		return fmt.Errorf("no fault is asked for: give at least one of --kill, --freeze, --join, --partition, --coordinator-kill")
	}
	for _, d := range []struct {
		flag   string
		d      time.Duration
		lowest time.Duration
	}{{"freeze-for", c.FreezeFor, time.Millisecond}, {"partition-for", c.PartitionFor, time.Millisecond}, {"away-for", c.AwayFor, 0}, {"pause", c.Pause, 0}, {"limit", c.Limit, time.Second}} {
		if d.d < d.lowest || d.d > 10*time.Minute {
			return fmt.Errorf("--%s must be %v to 10m, got %v", d.flag, d.lowest, d.d)
		}
	}
	return nil
}

// Plan is the order of the faults and the pauses before them, from the seed.
type Plan struct {
	Kinds  []Kind
	Pauses []time.Duration
	rng    *rand.Rand // Picks the victims.
}

// NewPlan draws a plan.
func NewPlan(c Config) Plan {
	p := Plan{rng: rand.New(rand.NewPCG(c.Seed, 3))}
	for _, f := range []struct {
		kind Kind
		n    int
	}{{Kill, c.Kills}, {Freeze, c.Freezes}, {Join, c.Joins}, {Partition, c.Partitions}, {CoordinatorKill, c.CoordinatorKills}} {
		p.Kinds = append(p.Kinds, slices.Repeat([]Kind{f.kind}, f.n)...)
	}
	p.rng.Shuffle(len(p.Kinds), func(i, j int) { p.Kinds[i], p.Kinds[j] = p.Kinds[j], p.Kinds[i] })
	for range p.Kinds {
		p.Pauses = append(p.Pauses, time.Duration(p.rng.Int64N(int64(c.Pause)+1)))
	}
	return p
}
