package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"yohaku/allreduce/fixedpoint"
	"yohaku/allreduce/natsring"
	"yohaku/internal/wire"
	"yohaku/worker/trainstep"
)

// control is what each rank tells all others once an attempt is reduced. It is small, and holds
// floats as JSON numbers only where they are finite.
type control struct {
	ParamsSHA256 string            `json:"params_sha256"` // Before this step's update.
	Stats        []trainstep.Stats `json:"stats,omitempty"`
	NonFinite    string            `json:"nonfinite,omitempty"`
	Pause        bool              `json:"pause,omitempty"`
}

// agreement is what the ring agreed on for an attempt.
type agreement struct {
	sums      []int32
	needed    fixedpoint.Exponents
	stats     trainstep.Stats
	nonFinite string
	pause     bool
	duration  time.Duration
	bytes     int64
}

// reducer takes sums round the ring.
type reducer struct {
	ring   ring
	world  int
	sums   []int32 // Over all ranks.
	needed fixedpoint.Exponents
}

func newReducer(ring ring, world int, l *fixedpoint.Layout) *reducer {
	return &reducer{ring: ring, world: world, sums: make([]int32, l.Elements()), needed: fixedpoint.NewNeeded(l.Blocks())}
}

// reduce sums over all ranks, gathers their control words, and checks that all ranks hold the
// same parameters.
func (r *reducer) reduce(ctx context.Context, op natsring.Operation, sums []int32, needed fixedpoint.Exponents, mine control) (agreement, error) {
	start := time.Now()
	if err := r.ring.AllReduce(ctx, op, sums, needed, r.sums, r.needed); err != nil {
		return agreement{}, fmt.Errorf("reduce gradients: %w", err)
	}
	words, err := r.ring.AllGather(ctx, op, "control", wire.Encode(mine))
	if err != nil {
		return agreement{}, fmt.Errorf("gather control words: %w", err)
	}
	a := agreement{sums: r.sums, needed: r.needed, duration: time.Since(start), bytes: r.bytes(len(sums), len(needed))}
	var all []trainstep.Stats
	for rank, word := range words {
		var c control
		if err := json.Unmarshal(word, &c); err != nil {
			return agreement{}, fmt.Errorf("control word of rank %d: %w", rank, err)
		}
		if c.ParamsSHA256 != mine.ParamsSHA256 {
			return agreement{}, fmt.Errorf("rank %d has parameters %.12s…, this rank %.12s…, before step %d: one of the two machines computes wrongly", rank, c.ParamsSHA256, mine.ParamsSHA256, op.Step)
		}
		all = append(all, c.Stats...)
		a.pause = a.pause || c.Pause
		if a.nonFinite == "" {
			a.nonFinite = c.NonFinite
		}
	}
	a.stats = trainstep.Mean(all)
	return a, nil
}

// bytes is what this rank sends for one reduction: 2·(N−1)/N of sums and exponents.
func (r *reducer) bytes(elements, blocks int) int64 {
	return int64(elements*fixedpoint.Int32.Bytes()+blocks) * 2 * int64(r.world-1) / int64(r.world)
}
