package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"yohaku/allreduce/fixedpoint"
	"yohaku/allreduce/natsring"
	"yohaku/internal/wire"
	"yohaku/worker/lifecycle"
	"yohaku/worker/trainstep"
)

// word is what each rank tells all others of an attempt before its sums go round. It is small,
// and holds floats as JSON numbers only where they are finite.
type word struct {
	ParamsSHA256 string            `json:"params_sha256"` // Before this step's update.
	MicroBatches []int             `json:"micro_batches"` // In the partial sums.
	Stats        []trainstep.Stats `json:"stats,omitempty"`
	NonFinite    string            `json:"nonfinite,omitempty"`
	Seconds      float64           `json:"seconds,omitempty"` // Time of a micro-batch.
	Reported     int               `json:"reported"`          // The last step that the coordinator has, as far as this rank knows.
	Pause        bool              `json:"pause,omitempty"`
	Save         bool              `json:"save,omitempty"`
}

// have is what each rank tells all others once it has the complete sums of a step.
type have struct {
	ParamsSHA256 string `json:"params_sha256"` // After this step's update.
}

// agreement is what the ranks said of an attempt.
type agreement struct {
	stats     trainstep.Stats
	nonFinite string
	shares    [][]int   // By rank.
	seconds   []float64 // By rank.
}

// errReplicas reports that ranks hold different parameters.
var errReplicas = errors.New("one of the two machines computes wrongly")

// exchange gathers the words of all ranks, and checks that all hold the same parameters.
func (r *rank) exchange(ctx context.Context, e lifecycle.Exchange) (lifecycle.Event, error) {
	start := time.Now()
	mine := r.word(e)
	words, err := gather[word](ctx, r.ring, natsring.Operation{Step: e.Step, Attempt: e.Attempt}, "word", mine)
	if err != nil {
		return nil, fmt.Errorf("exchange words: %w", err)
	}
	r.ringed += time.Since(start)
	r.words = agreement{}
	ev := lifecycle.Exchanged{Step: e.Step, Attempt: e.Attempt}
	var all []trainstep.Stats
	for rank, w := range words {
		if w.ParamsSHA256 != mine.ParamsSHA256 {
			return nil, fmt.Errorf("rank %d has parameters %.12s…, this rank %.12s…, before step %d: %w", rank, w.ParamsSHA256, mine.ParamsSHA256, e.Step, errReplicas)
		}
		all = append(all, w.Stats...)
		r.words.shares = append(r.words.shares, w.MicroBatches)
		r.words.seconds = append(r.words.seconds, w.Seconds)
		ev.Pause, ev.Save = ev.Pause || w.Pause, ev.Save || w.Save
		if r.words.nonFinite == "" {
			r.words.nonFinite = w.NonFinite
		}
	}
	r.res.reported(words[0].Reported)
	r.words.stats = trainstep.Mean(all)
	ev.Shares, ev.Seconds = r.words.shares, r.words.seconds
	return ev, nil
}

func (r *rank) word(e lifecycle.Exchange) word {
	res := r.res
	w := word{ParamsSHA256: res.params, MicroBatches: append([]int{}, slices.Sorted(slices.Values(e.MicroBatches))...), Stats: res.stats, Seconds: res.seconds, Reported: e.Step}
	if len(res.steps) > 0 {
		w.Reported = res.steps[0].Step - 1
	}
	w.Pause, w.Save = r.wish.asked()
	if bad := res.trainer.Bad(); len(bad) > 0 {
		w.Stats = nil // Not finite either: JSON cannot hold them.
		w.NonFinite = fmt.Sprintf("gradient of %s in micro-batch %d:%s", bad[0].Param, bad[0].MicroBatch, res.model.describe(e.Step, bad[0].MicroBatch))
	}
	return w
}

// gather hands every rank's word to all.
func gather[T any](ctx context.Context, ring ring, op natsring.Operation, name string, mine T) ([]T, error) {
	texts, err := ring.AllGather(ctx, op, name, wire.Encode(mine))
	if err != nil {
		return nil, err
	}
	all := make([]T, len(texts))
	for rank, text := range texts {
		if err := json.Unmarshal(text, &all[rank]); err != nil {
			return nil, fmt.Errorf("%s of rank %d: %w", name, rank, err)
		}
	}
	return all, nil
}

// reduce takes the partial sums round the ring.
func (r *rank) reduce(ctx context.Context, e lifecycle.Reduce) (lifecycle.Event, error) {
	start := time.Now()
	s := &r.res.sums
	copy(s.exps, r.res.trainer.State().Exponents)
	sums, needed := r.res.trainer.Sums()
	if err := r.ring.AllReduce(ctx, natsring.Operation{Step: e.Step, Attempt: e.Attempt}, sums, needed, s.sums, s.needed); err != nil {
		return nil, fmt.Errorf("reduce gradients: %w", err)
	}
	r.ringed += time.Since(start)
	return lifecycle.Reduced{
		Step: e.Step, Attempt: e.Attempt, Overflowed: r.res.trainer.Overflowed(s.needed), NonFinite: fixedpoint.FirstNonFinite(s.needed) >= 0,
	}, nil
}

// confirm waits until every rank has the sums of the step, and the same parameters by them.
func (r *rank) confirm(ctx context.Context, e lifecycle.Confirm) error {
	all, err := gather(ctx, r.ring, natsring.Operation{Step: e.Step, Attempt: e.Attempt}, "have", have{r.res.params})
	if err != nil {
		return fmt.Errorf("confirm step %d: %w", e.Step, err)
	}
	for rank, h := range all {
		if h.ParamsSHA256 != r.res.params {
			return fmt.Errorf("rank %d has parameters %.12s…, this rank %.12s…, after step %d: %w", rank, h.ParamsSHA256, r.res.params, e.Step, errReplicas)
		}
	}
	return nil
}

// bytes is what this rank sends for one reduction: 2·(N−1)/N of sums and exponents.
func (r *rank) bytes() int64 {
	world := int64(len(r.job.Nodes))
	return int64(len(r.res.sums.sums)*fixedpoint.Int32.Bytes()+len(r.res.sums.exps)) * 2 * (world - 1) / world
}
