package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime/pprof"
	"slices"
	"time"

	"yohaku/allreduce/fixedpoint"
	"yohaku/allreduce/natsring"
	"yohaku/internal/bus"
	"yohaku/internal/rng"
)

// ringRank is one rank's process: the bus and the ring of a worker, and vectors.
type ringRank struct {
	bus         *bus.Bus
	rings       map[string]*natsring.Ring // By wire format.
	rank, world int
	steps       int

	format            fixedpoint.Format
	mine, total       []int32 // Of a sample, this rank's and all.
	sums, outSums     []int32
	needed, outNeeded []int8
}

// serveRingRank starts a rank, says where it is, and runs orders until in ends.
func serveRingRank(in io.Reader, out io.Writer, o options) (err error) {
	if o.profile != "" {
		f, err := os.Create(fmt.Sprintf("%s/rank%d.pprof", o.profile, o.ringRank))
		if err != nil {
			return fmt.Errorf("create profile: %w", err)
		}
		defer func() { err = f.Close() }()
		if err := pprof.StartCPUProfile(f); err != nil {
			return fmt.Errorf("start profile: %w", err)
		}
		defer pprof.StopCPUProfile()
	}
	r := &ringRank{rank: o.ringRank, world: o.ringWorld, rings: map[string]*natsring.Ring{}}
	c := bus.Config{NodeName: r.name(r.rank), RunID: "bench", RouteListen: "127.0.0.1:0"}
	if o.ringRoute != "" {
		c.Routes = []string{o.ringRoute}
	}
	if r.bus, err = bus.Start(c); err != nil {
		return err
	}
	defer r.bus.Close()
	replies := json.NewEncoder(out)
	if err := replies.Encode(ringAnswer{Route: r.bus.RouteAddr()}); err != nil {
		return fmt.Errorf("write answer: %w", err)
	}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		var order ringOrder
		if err := json.Unmarshal(lines.Bytes(), &order); err != nil {
			return fmt.Errorf("read order %.80q: %w", lines.Bytes(), err)
		}
		var a ringAnswer
		if a.MS, err = r.run(order); err != nil {
			a.Error = err.Error()
		}
		if err := replies.Encode(a); err != nil {
			return fmt.Errorf("write answer: %w", err)
		}
	}
	for _, ring := range r.rings {
		if err := ring.Close(); err != nil {
			return err
		}
	}
	return lines.Err()
}

func (r *ringRank) name(rank int) string { return fmt.Sprint("rank-", rank) }

// ring makes the ring of a format at its first use.
func (r *ringRank) ring(dtype string) (*natsring.Ring, error) {
	if ring := r.rings[dtype]; ring != nil {
		return ring, nil
	}
	format, err := fixedpoint.ParseFormat(dtype)
	if err != nil {
		return nil, err
	}
	var names []string
	for rank := range r.world {
		names = append(names, r.name(rank))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := r.bus.WaitPeers(ctx, slices.Delete(slices.Clone(names), r.rank, r.rank+1)...); err != nil {
		return nil, err
	}
	ring, err := natsring.New(natsring.Config{Conn: r.bus.Conn(), Direct: r.bus, RunID: "bench", Names: names, Rank: r.rank, Generation: 1 + uint64(format), Format: format})
	if err != nil {
		return nil, err
	}
	r.rings[dtype] = ring
	return ring, nil
}

// run times all-reduces. The last of an order is checked.
func (r *ringRank) run(o ringOrder) ([]float64, error) {
	ring, err := r.ring(o.DType)
	if err != nil {
		return nil, err
	}
	format, err := fixedpoint.ParseFormat(o.DType)
	if err != nil {
		return nil, err
	}
	if err := r.prepare(o, format); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	// All begin together, as those that Gloo times do.
	r.steps++
	if _, err := ring.AllGather(ctx, natsring.Operation{Step: r.steps}, "begin", nil); err != nil {
		return nil, err
	}
	var ms []float64
	for range o.Count {
		r.steps++
		start := time.Now()
		if err := ring.AllReduce(ctx, natsring.Operation{Step: r.steps}, r.sums, r.needed, r.outSums, r.outNeeded); err != nil {
			return nil, err
		}
		ms = append(ms, float64(time.Since(start))/float64(time.Millisecond))
	}
	return ms, r.check()
}

// The sums are those of a training step in its middle: microBatches gradients of normal elements, rounded with the exponents that
// their own maxima call for, and shared out over the ranks. A vector repeats them.
const (
	microBatches   = 8
	sampleElements = 1 << 20
)

// prepare makes this rank's sums, and the total to hold the result to.
func (r *ringRank) prepare(o ringOrder, format fixedpoint.Format) error {
	if len(r.sums) == o.Elements && r.format == format {
		return nil
	}
	r.format = format
	if err := r.sample(); err != nil {
		return err
	}
	blocks := fixedpoint.Blocks(o.Elements)
	r.sums, r.outSums, r.needed, r.outNeeded = make([]int32, o.Elements), make([]int32, o.Elements), make([]int8, blocks), make([]int8, blocks)
	for at := 0; at < len(r.sums); {
		at += copy(r.sums[at:], r.mine)
	}
	for i := range r.needed {
		r.needed[i] = int8((i + r.rank) % 100)
	}
	return nil
}

// sample rounds the gradients of all micro-batches.
func (r *ringRank) sample() error {
	grid, err := fixedpoint.NewGrid(fixedpoint.NewLayout([]int{sampleElements}), r.format, microBatches)
	if err != nil {
		return err
	}
	blocks := grid.Layout().Blocks()
	exps, needed := fixedpoint.NewNeeded(blocks), fixedpoint.NewNeeded(blocks)
	r.mine, r.total = make([]int32, sampleElements), make([]int32, sampleElements)
	grad := make([]float32, sampleElements)
	for _, calibrate := range []bool{true, false} {
		clear(r.mine)
		clear(r.total)
		for m := range microBatches {
			rng.New(rng.Key{Seed: seed, Domain: rng.Noise, Item: uint64(m)}).FillNormal(grad)
			grid.AccumulateKeyed(r.total, grad, exps, needed, fixedpoint.Rounding{Seed: seed, MicroBatch: m})
			if m%r.world == r.rank {
				grid.AccumulateKeyed(r.mine, grad, exps, needed, fixedpoint.Rounding{Seed: seed, MicroBatch: m})
			}
		}
		if calibrate {
			exps = grid.Calibrate(needed)
		}
	}
	return nil
}

func (r *ringRank) check() error {
	for i, got := range r.outSums {
		if want := r.total[i%sampleElements]; got != want {
			return fmt.Errorf("sum %d is %d, want %d", i, got, want)
		}
	}
	return nil
}
