// Package plan says what a training step works on: which pairs at which timesteps, in which
// micro-batches. It is a pure function of the seed and the step, so every worker computes it for
// itself, a resumed run continues exactly, and the world size never enters.
//
// Pairs come without replacement, in a fresh keyed order each epoch; an epoch may end within a
// step. The K timesteps of one pair fall one in each of K equal bins of [0, T): a step then sees
// the whole noise path, with less variance than K independent draws. K = 1 is the reference
// code's uniform draw.
package plan

import (
	"fmt"
	"math"
	"sync"

	"yohaku/internal/assert"
	"yohaku/internal/rng"
)

// Config is what a plan depends on.
type Config struct {
	Seed              uint64
	Pairs             int // Pairs in the data set.
	MicroBatches      int // Per step: gradient_accumulation_steps.
	BatchSize         int // Items in a micro-batch: train_batch_size.
	TimestepsPerPair  int // K.
	NumTrainTimesteps int // T.
}

// Item is one draw: a pair at a timestep. Index is its number within the whole run; it keys the
// item's noise, which winner and loser share.
type Item struct {
	Pair     int
	Timestep int
	Index    uint64
}

// MicroBatch is the unit of work: the items whose gradient is computed in one go.
type MicroBatch []Item

// Plan gives the items of every step. It is safe for concurrent use.
type Plan struct {
	config Config

	mu     sync.Mutex
	epoch  uint64 // The epoch that order belongs to.
	order  []int
	filled bool
}

// maxItemsPerStep bounds a step's plan, so that a mistyped batch size cannot exhaust the memory.
const maxItemsPerStep = 1 << 24

// New checks c and returns its plan. The errors name the configuration keys.
func New(c Config) (*Plan, error) {
	for _, f := range []struct {
		key   string
		value int
		high  int
	}{
		{"train_batch_size", c.BatchSize, maxItemsPerStep},
		{"gradient_accumulation_steps", c.MicroBatches, maxItemsPerStep},
		{"num_train_timesteps", c.NumTrainTimesteps, math.MaxInt32},
		{"timesteps_per_pair", c.TimestepsPerPair, maxItemsPerStep},
	} {
		if f.value < 1 || f.value > f.high {
			return nil, fmt.Errorf("%s must be from 1 to %d, got %d", f.key, f.high, f.value)
		}
	}
	if c.Pairs < 1 {
		return nil, fmt.Errorf("the data set has no pairs to train on: check its ties and rejected rows")
	}
	if c.TimestepsPerPair > c.NumTrainTimesteps {
		return nil, fmt.Errorf("timesteps_per_pair must not be above num_train_timesteps (%d), got %d: the bins would be empty",
			c.NumTrainTimesteps, c.TimestepsPerPair)
	}
	items := int64(c.MicroBatches) * int64(c.BatchSize)
	if items > maxItemsPerStep {
		return nil, fmt.Errorf("train_batch_size × gradient_accumulation_steps must not be above %d, got %d × %d",
			maxItemsPerStep, c.BatchSize, c.MicroBatches)
	}
	if items%int64(c.TimestepsPerPair) != 0 {
		return nil, fmt.Errorf("timesteps_per_pair (%d) must divide train_batch_size × gradient_accumulation_steps (%d × %d = %d), "+
			"so that a step holds all timesteps of its pairs", c.TimestepsPerPair, c.BatchSize, c.MicroBatches, items)
	}
	return &Plan{config: c}, nil
}

// ItemsPerStep returns the number of items of every step.
func (p *Plan) ItemsPerStep() int { return p.config.MicroBatches * p.config.BatchSize }

// Epochs returns how often the first steps steps go through the data.
func (p *Plan) Epochs(steps int) float64 {
	draws := float64(steps) * float64(p.ItemsPerStep()) / float64(p.config.TimestepsPerPair)
	return draws / float64(p.config.Pairs)
}

// At returns the micro-batches of a step, counted from 0. The K items of a pair stand side by
// side, so they share a micro-batch when K divides the batch size.
func (p *Plan) At(step int) []MicroBatch {
	assert.That(step >= 0, "plan: step must not be negative, got %d", step)
	items := make([]Item, p.ItemsPerStep())
	first := uint64(step) * uint64(len(items))
	for i := range items {
		items[i] = p.item(uint64(step), first+uint64(i))
	}
	batches := make([]MicroBatch, p.config.MicroBatches)
	for m := range batches {
		batches[m] = items[m*p.config.BatchSize : (m+1)*p.config.BatchSize : (m+1)*p.config.BatchSize]
	}
	return batches
}

// item returns the item of the given number, which belongs to step.
func (p *Plan) item(step, index uint64) Item {
	k := uint64(p.config.TimestepsPerPair)
	return Item{
		Pair:     p.pair(index / k),
		Timestep: p.timestep(step, index, int64(index%k)),
		Index:    index,
	}
}

// timestep draws uniformly from bin of the K bins [bin·T/K, (bin+1)·T/K).
func (p *Plan) timestep(step, index uint64, bin int64) int {
	k, t := int64(p.config.TimestepsPerPair), int64(p.config.NumTrainTimesteps)
	low, high := bin*t/k, (bin+1)*t/k
	s := rng.New(rng.Key{Seed: p.config.Seed, Domain: rng.Plan, Step: step, Item: index})
	return int(low) + s.IntN(int(high-low))
}

// orderItem is the item number in the key of an epoch's order: no item of a run has it.
const orderItem = math.MaxUint64

// pair returns the pair of the given draw, counted over the whole run.
func (p *Plan) pair(draw uint64) int {
	n := uint64(p.config.Pairs)
	epoch := draw / n
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.filled || p.epoch != epoch {
		s := rng.New(rng.Key{Seed: p.config.Seed, Domain: rng.Plan, Step: epoch, Item: orderItem})
		p.order, p.epoch, p.filled = s.Perm(p.config.Pairs), epoch, true
	}
	return p.order[draw%n]
}

// Timesteps is the number of timesteps of the path, T.
func (p *Plan) Timesteps() int { return p.config.NumTrainTimesteps }
