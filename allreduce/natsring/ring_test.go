package natsring

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"yohaku/allreduce"
	"yohaku/allreduce/fixedpoint"
)

// TestAllReduce: worlds of 1 to 5, odd lengths, both formats, windows down to one chunk, several buckets and steps.
func TestAllReduce(t *testing.T) {
	for world := 1; world <= 5; world++ {
		for _, format := range []fixedpoint.Format{fixedpoint.Int32, fixedpoint.Int16} {
			for _, window := range []int{1, 3, 64} {
				t.Run(fmt.Sprintf("world=%d,%s,window=%d", world, format, window), func(t *testing.T) {
					rings := joinAll(t, world, func(c *Config) { c.Format, c.Window = format, window })
					ctx := within(t, time.Minute)
					for step, n := range []int{0, 1, 2, world, 1023, 100_003, 300_000} {
						for b := range 2 {
							most := []int32{400, 6000}[b] // Both widths of both formats: 12 and 16, 24 and 32 bits.
							if format == fixedpoint.Int32 {
								most <<= 14
							}
							v := draw(uint64(step), world, n, fixedpoint.Blocks(n)+b, most)
							mustAll(t, everyone(rings, func(rank int, r *Ring) error {
								return v.reduce(ctx, r, rank, Operation{Step: step, Bucket: b})
							}))
						}
					}
				})
			}
		}
	}
}

// TestOverRoutes: chunks go from worker to worker over routes that may still be coming up.
func TestOverRoutes(t *testing.T) {
	const world = 3
	rings := make([]*Ring, world)
	for rank, s := range startCluster(t, world) {
		rings[rank] = join(t, s, rank, world)
	}
	ctx := within(t, time.Minute)
	for step := range 5 {
		v := draw(uint64(step), world, 700_000, 700, 1<<20)
		mustAll(t, everyone(rings, func(rank int, r *Ring) error { return v.reduce(ctx, r, rank, Operation{Step: step}) }))
	}
}

// TestRunsFreely: ranks that run many operations without waiting for each other keep them apart.
func TestRunsFreely(t *testing.T) {
	const world, steps = 3, 40
	rings := joinAll(t, world, func(c *Config) { c.Window = 4 })
	ctx := within(t, time.Minute)
	var work []vectors
	for i := range steps {
		work = append(work, draw(uint64(i), world, i*5000, i, 1<<20))
	}
	mustAll(t, everyone(rings, func(rank int, r *Ring) error {
		for i, v := range work {
			if err := v.reduce(ctx, r, rank, Operation{Step: i / 4, Bucket: i % 4}); err != nil {
				return err
			}
			if _, err := r.AllGather(ctx, Operation{Step: i / 4, Bucket: i % 4}, "control", []byte{byte(i)}); err != nil {
				return err
			}
		}
		return nil
	}))
}

func TestAllGather(t *testing.T) {
	for world := 1; world <= 5; world++ {
		rings := joinAll(t, world, func(c *Config) { c.Window = 5 })
		ctx := within(t, time.Minute)
		for step, size := range []int{0, 1, gatherPartBytes - 1, gatherPartBytes, gatherPartBytes + 1, maxGatherBytes} {
			want := make([][]byte, world)
			for rank := range want {
				want[rank] = bytes.Repeat([]byte{byte(rank + 1)}, max(0, size-rank))
			}
			mustAll(t, everyone(rings, func(rank int, r *Ring) error {
				got, err := r.AllGather(ctx, Operation{Step: step}, "control", want[rank])
				if err == nil && !slices.EqualFunc(got, want, bytes.Equal) {
					err = fmt.Errorf("size %d: wrong result", size)
				}
				return err
			}))
		}
		if _, err := rings[0].AllGather(ctx, Operation{Step: 9}, "control", make([]byte, maxGatherBytes+1)); err == nil {
			t.Error("an item above 1 MiB was taken")
		}
	}
}

// TestLateRank: a rank whose ring, or whose call, comes later than the others' misses nothing.
func TestLateRank(t *testing.T) {
	const world = 3
	s := startServer(t)
	v := draw(1, world, 200_000, 200, 1<<20)
	ctx := within(t, time.Minute)
	rings := make([]*Ring, world)
	early := make(chan error, 2)
	for rank := range 2 {
		rings[rank] = join(t, s, rank, world)
		go func() { early <- v.reduce(ctx, rings[rank], rank, Operation{}) }()
	}
	// Rank 0 asks for rank 1's chunks at once, and rank 1 for rank 2's beats: wait until both ask.
	waitFor(t, rings[1], func(m *machine) bool { return m.running != nil && m.prevPeer.heard })
	rings[2] = join(t, s, 2, world)
	// Rank 1 has sent what its credit allows before rank 2 calls.
	waitFor(t, rings[2], func(m *machine) bool { return len(m.stash) > 0 })
	if err := v.reduce(ctx, rings[2], 2, Operation{}); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := <-early; err != nil {
			t.Error(err)
		}
	}
}

// waitFor has the owner look at its machine until the condition holds.
func waitFor(t testing.TB, r *Ring, holds func(*machine) bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		seen := make(chan bool, 1)
		select {
		case r.inspect <- func(m *machine) { seen <- holds(m) }:
			if <-seen {
				return
			}
		case <-deadline:
			t.Fatal("the ring did not get there in 20 s")
		}
	}
}

func TestKilledRank(t *testing.T) {
	const world, dead = 4, 2
	const silence = 500 * time.Millisecond
	rings := joinAll(t, world, func(c *Config) { c.SilenceTimeout = silence })
	v := draw(2, world, 400_000, 400, 1<<20)
	ctx := within(t, 30*time.Second)
	mustAll(t, everyone(rings, func(rank int, r *Ring) error { return v.reduce(ctx, r, rank, Operation{Step: 0}) }))
	rings[dead].config.Conn.Close() // As a killed process: nothing is said.
	began := time.Now()
	errs := everyone(rings, func(rank int, r *Ring) error {
		if rank == dead {
			return nil
		}
		return v.reduce(ctx, r, rank, Operation{Step: 1})
	})
	if took := time.Since(began); took > 6*silence {
		t.Errorf("took %v, want at most %v", took, 6*silence)
	}
	for rank, err := range errs {
		var lost *PeerLostError
		if rank != dead && (!errors.As(err, &lost) || lost.Rank != dead || lost.Generation != 7 || lost.Silence < silence) {
			t.Errorf("rank %d: %v, want rank %d lost", rank, err, dead)
		}
	}
}

func TestNeverStarted(t *testing.T) {
	s := startServer(t)
	r := join(t, s, 0, 2, func(c *Config) { c.JoinTimeout = 200 * time.Millisecond })
	var lost *PeerLostError
	_, err := r.AllGather(within(t, 20*time.Second), Operation{}, "control", nil)
	if !errors.As(err, &lost) || lost.Rank != 1 {
		t.Errorf("%v, want rank 1 lost", err)
	}
}

// TestSlowRankIsNotLost: a rank that computes for long before it calls is waited for.
func TestSlowRankIsNotLost(t *testing.T) {
	const silence = 200 * time.Millisecond
	rings := joinAll(t, 3, func(c *Config) { c.SilenceTimeout, c.Window = silence, 2 })
	v := draw(3, 3, 500_000, 5, 1<<20)
	ctx := within(t, 30*time.Second)
	mustAll(t, everyone(rings, func(rank int, r *Ring) error {
		if rank == 1 {
			waitUntil(ctx, time.Now().Add(5*silence))
		}
		return v.reduce(ctx, r, rank, Operation{})
	}))
}

func waitUntil(ctx context.Context, at time.Time) {
	ctx, cancel := context.WithDeadline(ctx, at)
	defer cancel()
	<-ctx.Done()
}

// TestCancelAndRetry: a rank whose context ends, before or in the operation, aborts it everywhere; all
// succeed with a higher attempt on the same rings.
func TestCancelAndRetry(t *testing.T) {
	const world = 3
	rings := joinAll(t, world, func(c *Config) { c.Window = 2 })
	v := draw(4, world, 900_000, 900, 1<<20)
	ctx := within(t, time.Minute)
	boom := errors.New("boom")
	for step, early := range []bool{true, false} {
		mustAll(t, everyone(rings, func(rank int, r *Ring) error {
			mine, cancel := context.WithCancelCause(ctx)
			defer cancel(nil)
			switch {
			case rank == 1 && early:
				cancel(boom)
			case rank == 1:
				go func() {
					waitFor(t, r, func(m *machine) bool { return m.running != nil })
					cancel(boom)
				}()
			case rank == 2: // Never begins before the abort.
				waitFor(t, r, func(m *machine) bool { return len(m.void) > 0 })
			}
			err := v.reduce(mine, r, rank, Operation{Step: step})
			var aborted *AbortedError
			if rank == 1 && !errors.Is(err, boom) || rank != 1 && (!errors.As(err, &aborted) || aborted.Rank != 1) {
				return fmt.Errorf("got %w, want aborted by rank 1", err)
			}
			return nil
		}))
		for attempt := 1; attempt < 3; attempt++ {
			mustAll(t, everyone(rings, func(rank int, r *Ring) error {
				return v.reduce(ctx, r, rank, Operation{Step: step, Attempt: attempt})
			}))
		}
	}
	for _, op := range []Operation{{Step: 0, Attempt: 9}, {Step: 1, Attempt: 1}, {Step: 1, Attempt: 2}} {
		if err := v.reduce(ctx, rings[0], 0, op); !errors.Is(err, errOrder) {
			t.Errorf("going back to %+v: %v, want %v", op, err, errOrder)
		}
	}
}

// TestDisagreement: ranks that reduce vectors of different lengths get an error, not a wrong sum.
func TestDisagreement(t *testing.T) {
	rings := joinAll(t, 2)
	ctx := within(t, time.Minute)
	errs := everyone(rings, func(rank int, r *Ring) error {
		n := 1000 + rank
		return r.AllReduce(ctx, Operation{}, make([]int32, n), nil, make([]int32, n), nil)
	})
	if errs[0] == nil || errs[1] == nil {
		t.Errorf("no error: %v", errs)
	}
}

func TestInt16Range(t *testing.T) {
	rings := joinAll(t, 2, func(c *Config) { c.Format = fixedpoint.Int16 })
	ctx := within(t, time.Minute)
	errs := everyone(rings, func(rank int, r *Ring) error {
		return r.AllReduce(ctx, Operation{}, []int32{1 << 15, 1 << 15}, nil, make([]int32, 2), nil)
	})
	if errs[0] == nil || errs[1] == nil {
		t.Errorf("no error: %v", errs)
	}
}

// TestRubbishIsDropped: other messages on the ring's subjects change no result.
func TestRubbishIsDropped(t *testing.T) {
	const world = 2
	s := startServer(t)
	rings := []*Ring{join(t, s, 0, world), join(t, s, 1, world)}
	v := draw(6, world, 200_000, 200, 1<<20)
	ctx := within(t, time.Minute)
	mustAll(t, everyone(rings, func(rank int, r *Ring) error { return v.reduce(ctx, r, rank, Operation{Step: 3}) }))

	good := func(change func(*header), payload []byte) []byte {
		h := header{kind: kindData, from: 0, generation: 7, key: key{position: position{step: 4}, job: jobReduce}}
		change(&h)
		return withLength(append(appendHeader(nil, h), payload...))
	}
	rubbish := [][]byte{
		nil, {1, 2, 3}, make([]byte, headerBytes), make([]byte, 500_000), // Malformed or oversized.
		good(func(*header) {}, nil)[:headerBytes-1],
		good(func(h *header) { h.generation = 6 }, nil),     // Another generation.
		good(func(h *header) { h.from = 1 }, nil),           // Not the previous rank.
		good(func(h *header) { h.key.step = 2 }, nil),       // A step that is over.
		good(func(h *header) { h.key.step = 3 }, nil),       // A replay of the last step.
		good(func(h *header) { h.kind = kindAck }, nil),     // On the wrong subject.
		good(func(h *header) { h.kind = kindAbort }, nil),   // An abort without its payload.
		good(func(h *header) { h.kind = 77 }, nil),          // Unknown.
		good(func(h *header) { h.key.step = 1 << 63 }, nil), // Beyond int64.
	}
	stranger := connect(t, s)
	for _, b := range rubbish {
		if err := stranger.Publish(rings[1].subject(1, "data"), b); err != nil {
			t.Fatal(err)
		}
	}
	if err := stranger.Flush(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, rings[1], func(m *machine) bool {
		d := m.drops
		return d.malformed >= 8 && d.foreign >= 3 && d.stale >= 2
	})
	mustAll(t, everyone(rings, func(rank int, r *Ring) error { return v.reduce(ctx, r, rank, Operation{Step: 4}) }))
}

func TestClose(t *testing.T) {
	rings := joinAll(t, 2)
	result := make(chan error, 1)
	go func() {
		_, err := rings[0].AllGather(t.Context(), Operation{}, "control", nil)
		result <- err
	}()
	waitFor(t, rings[0], func(m *machine) bool { return m.running != nil && m.linkUp })
	for range 2 {
		if err := rings[0].Close(); err != nil {
			t.Error(err)
		}
	}
	if err := <-result; !errors.Is(err, ErrClosed) {
		t.Errorf("running operation: %v, want %v", err, ErrClosed)
	}
	if _, err := rings[0].AllGather(t.Context(), Operation{Step: 1}, "control", nil); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v, want %v", err, ErrClosed)
	}
	var aborted *AbortedError
	waitFor(t, rings[1], func(m *machine) bool { return len(m.void) > 0 })
	if _, err := rings[1].AllGather(within(t, time.Minute), Operation{}, "control", nil); !errors.As(err, &aborted) {
		t.Errorf("the other rank: %v, want aborted", err)
	}
}

// TestBuckets: buckets are handed over one by one while earlier ones travel, at each rank at its own pace, and the
// micro-batches are counted.
func TestBuckets(t *testing.T) {
	for world := 1; world <= 4; world++ {
		for _, format := range []fixedpoint.Format{fixedpoint.Int32, fixedpoint.Int16} {
			rings := joinAll(t, world, func(c *Config) { c.Format, c.Window = format, 4 })
			ctx := within(t, time.Minute)
			const n, buckets = 400_000, 7
			for step := range 3 {
				v := draw(uint64(step), world, n, n/1000, 6000)
				spans := allreduce.Whole(n, n/1000, n/buckets)
				mustAll(t, everyone(rings, func(rank int, r *Ring) error {
					out, exps := make([]int32, n), make([]int8, n/1000)
					x, err := r.Begin(ctx, Operation{Step: step}, Vectors{Sums: v.sums[rank], Needed: v.exps[rank], OutSums: out, OutNeeded: exps,
						Mine: allreduce.TallyOf(rank), All: allreduce.TallyAll(world)}, spans)
					if err != nil {
						return err
					}
					for b := range spans {
						waitUntil(ctx, time.Now().Add(time.Duration(rank*step)*time.Millisecond))
						x.HandOver(b + 1)
					}
					if err := x.Wait(); err != nil {
						return err
					}
					if !slices.Equal(out, v.wantSums) || !slices.Equal(exps, v.wantExps) {
						return fmt.Errorf("step %d: wrong result", step)
					}
					return nil
				}))
			}
		}
	}
}

// TestTally: a micro-batch that two ranks have, or none, voids the attempt at every rank.
func TestTally(t *testing.T) {
	for name, c := range map[string]struct {
		mine []allreduce.Tally
		all  int
	}{
		"twice":   {[]allreduce.Tally{allreduce.TallyOf(0, 1), allreduce.TallyOf(2), allreduce.TallyOf(1)}, 3},
		"missing": {[]allreduce.Tally{allreduce.TallyOf(0), allreduce.TallyOf(2), {}}, 3},
		"beyond":  {[]allreduce.Tally{allreduce.TallyOf(0), allreduce.TallyOf(1), allreduce.TallyOf(2)}, 2},
		"alone":   {[]allreduce.Tally{allreduce.TallyOf(0)}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			rings := joinAll(t, len(c.mine))
			ctx := within(t, time.Minute)
			saw := 0
			for rank, err := range everyone(rings, func(rank int, r *Ring) error {
				const n = 300_000
				x, err := r.Begin(ctx, Operation{}, Vectors{Sums: make([]int32, n), OutSums: make([]int32, n), Mine: c.mine[rank], All: allreduce.TallyAll(c.all)}, allreduce.Whole(n, 0, n/3))
				if err != nil {
					return err
				}
				x.HandOver(3)
				return x.Wait()
			}) {
				var wrong *TallyError
				var aborted *AbortedError
				if errors.As(err, &wrong) {
					saw++
				} else if !errors.As(err, &aborted) {
					t.Errorf("rank %d: %v, want a tally error or an abort", rank, err)
				}
			}
			if saw == 0 {
				t.Error("no rank saw what was wrong")
			}
		})
	}
}

func TestNewRefuses(t *testing.T) {
	for name, change := range map[string]ringOption{
		"no names":          func(c *Config) { c.Names = nil },
		"rank beyond world": func(c *Config) { c.Rank = 1 },
		"no connection":     func(c *Config) { c.Names = []string{"a", "b"} },
		"run id with dots":  func(c *Config) { c.RunID = "a.b" },
		"run id empty":      func(c *Config) { c.RunID = "" },
		"format":            func(c *Config) { c.Format = 9 },
		"window":            func(c *Config) { c.Window = -1 },
		"silence":           func(c *Config) { c.SilenceTimeout = time.Millisecond },
	} {
		c := Config{RunID: "run", Names: []string{"a"}}
		change(&c)
		if r, err := New(c); err == nil {
			r.Close()
			t.Errorf("%s: no error", name)
		}
	}
}
