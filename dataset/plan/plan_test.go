package plan

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func mustNew(t *testing.T, c Config) *Plan {
	t.Helper()
	p, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// items returns the items of the steps [from, to) in order.
func items(p *Plan, from, to int) []Item {
	var all []Item
	for s := from; s < to; s++ {
		for _, b := range p.At(s) {
			all = append(all, b...)
		}
	}
	return all
}

// TestStepIsStable pins one step: a change breaks every run that is resumed.
func TestStepIsStable(t *testing.T) {
	p := mustNew(t, Config{Seed: 42, Pairs: 5, MicroBatches: 2, BatchSize: 2, TimestepsPerPair: 2, NumTrainTimesteps: 1000})
	want := []MicroBatch{
		{{Pair: 1, Timestep: 264, Index: 12}, {Pair: 1, Timestep: 960, Index: 13}},
		{{Pair: 2, Timestep: 225, Index: 14}, {Pair: 2, Timestep: 980, Index: 15}},
	}
	if diff := cmp.Diff(p.At(3), want); diff != "" {
		t.Errorf("seed 42, step 3 (-got +want):\n%s", diff)
	}
}

func TestEveryEpochSeesEveryPairOnce(t *testing.T) {
	tests := []Config{
		{Pairs: 12, MicroBatches: 2, BatchSize: 2, TimestepsPerPair: 1},
		{Pairs: 7, MicroBatches: 2, BatchSize: 2, TimestepsPerPair: 1}, // Epochs end within steps.
		{Pairs: 3, MicroBatches: 4, BatchSize: 4, TimestepsPerPair: 2}, // Fewer pairs than a step's draws.
		{Pairs: 1, MicroBatches: 1, BatchSize: 3, TimestepsPerPair: 3},
	}
	for _, c := range tests {
		c.Seed, c.NumTrainTimesteps = 8, 1000
		t.Run(fmt.Sprintf("%d pairs", c.Pairs), func(t *testing.T) {
			all := items(mustNew(t, c), 0, 4*c.Pairs)
			var orders []string
			for len(all) >= c.Pairs*c.TimestepsPerPair {
				epoch := all[:c.Pairs*c.TimestepsPerPair]
				all = all[len(epoch):]
				seen := make([]int, c.Pairs)
				for _, it := range epoch {
					seen[it.Pair]++
				}
				for pair, n := range seen {
					if n != c.TimestepsPerPair {
						t.Fatalf("seed 8: pair %d came %d times in an epoch, want %d", pair, n, c.TimestepsPerPair)
					}
				}
				orders = append(orders, fmt.Sprint(pairsOf(epoch)))
			}
			if c.Pairs >= 7 && orders[0] == orders[1] {
				t.Errorf("seed 8: two epochs have the same order %s", orders[0])
			}
		})
	}
}

func pairsOf(items []Item) []int {
	var p []int
	for _, it := range items {
		p = append(p, it.Pair)
	}
	return p
}

func TestTimestepsAreStratified(t *testing.T) {
	const k, total = 7, 1000 // 7 does not divide 1000: bins of 142 and 143.
	p := mustNew(t, Config{Seed: 3, Pairs: 10, MicroBatches: 2, BatchSize: k, TimestepsPerPair: k, NumTrainTimesteps: total})
	counts := make([]int, total)
	for step := range 4000 {
		for _, b := range p.At(step) {
			for bin, it := range b {
				if it.Pair != b[0].Pair {
					t.Fatalf("seed 3, step %d: a micro-batch mixes pairs %d and %d", step, b[0].Pair, it.Pair)
				}
				if low, high := bin*total/k, (bin+1)*total/k; it.Timestep < low || it.Timestep >= high {
					t.Fatalf("seed 3, step %d: timestep %d of bin %d is outside [%d, %d)", step, it.Timestep, bin, low, high)
				}
				counts[it.Timestep]++
			}
		}
	}
	for ts, n := range counts {
		if n < 20 || n > 110 { // 56 expected: ±4.8 and 7 standard deviations.
			t.Errorf("seed 3: timestep %d was drawn %d times, want about 56", ts, n)
		}
	}
}

func TestIndicesAreUniqueAndInOrder(t *testing.T) {
	p := mustNew(t, Config{Seed: 1, Pairs: 9, MicroBatches: 3, BatchSize: 2, TimestepsPerPair: 1, NumTrainTimesteps: 10})
	for i, it := range items(p, 0, 20) {
		if it.Index != uint64(i) {
			t.Fatalf("item %d has index %d", i, it.Index)
		}
	}
}

// TestOrderOfCallsDoesNotMatter: a resumed or a concurrent reader gets the same items.
func TestOrderOfCallsDoesNotMatter(t *testing.T) {
	c := Config{Seed: 6, Pairs: 5, MicroBatches: 2, BatchSize: 4, TimestepsPerPair: 1, NumTrainTimesteps: 1000}
	want := items(mustNew(t, c), 0, 16)
	shared := mustNew(t, c)
	got := make([][]Item, 16)
	var wg sync.WaitGroup
	for s := range got {
		wg.Go(func() { got[s] = items(shared, 15-s, 16-s) })
	}
	wg.Wait()
	for s := range got {
		if diff := cmp.Diff(got[s], want[(15-s)*8:(16-s)*8]); diff != "" {
			t.Errorf("seed 6, step %d (-got +want):\n%s", 15-s, diff)
		}
	}
}

func TestSeedsDiffer(t *testing.T) {
	c := Config{Seed: 1, Pairs: 50, MicroBatches: 2, BatchSize: 8, TimestepsPerPair: 1, NumTrainTimesteps: 1000}
	a := items(mustNew(t, c), 0, 1)
	c.Seed = 2
	if b := items(mustNew(t, c), 0, 1); cmp.Equal(a, b) {
		t.Errorf("seeds 1 and 2 give the same step: %v", a)
	}
}

func TestEpochs(t *testing.T) {
	p := mustNew(t, Config{Pairs: 16, MicroBatches: 4, BatchSize: 4, TimestepsPerPair: 2, NumTrainTimesteps: 1000})
	if got, want := p.Epochs(6), 3.0; got != want {
		t.Errorf("Epochs(6) = %v, want %v", got, want)
	}
}

func TestRefuses(t *testing.T) {
	good := Config{Pairs: 4, MicroBatches: 2, BatchSize: 2, TimestepsPerPair: 1, NumTrainTimesteps: 1000}
	tests := []struct {
		name   string
		change func(*Config)
		want   string
	}{
		{"no pairs", func(c *Config) { c.Pairs = 0 }, "no pairs"},
		{"batch size", func(c *Config) { c.BatchSize = 0 }, "train_batch_size must be from 1"},
		{"micro-batches", func(c *Config) { c.MicroBatches = -1 }, "gradient_accumulation_steps must be from 1 to 16777216, got -1"},
		{"timesteps", func(c *Config) { c.NumTrainTimesteps = 0 }, "num_train_timesteps"},
		{"per pair", func(c *Config) { c.TimestepsPerPair = 0 }, "timesteps_per_pair"},
		{"more bins than timesteps", func(c *Config) { c.TimestepsPerPair, c.NumTrainTimesteps = 4, 3 }, "must not be above num_train_timesteps (3), got 4"},
		{"K does not divide", func(c *Config) { c.TimestepsPerPair = 3 }, "timesteps_per_pair (3) must divide"},
		{"absurd product", func(c *Config) { c.BatchSize, c.MicroBatches = 1<<20, 1<<20 }, "must not be above"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := good
			tt.change(&c)
			if _, err := New(c); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("New(%+v) = %v, want an error with %q", c, err, tt.want)
			}
		})
	}
}
