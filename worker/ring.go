package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"yohaku/allreduce/natsring"
	"yohaku/internal/wire"
	"yohaku/worker/lifecycle"
	"yohaku/worker/replica"
	"yohaku/worker/trainstep"
)

// word is what each rank tells all others of an attempt before its sums go round, while its last
// micro-batch is still computed.
type word struct {
	MicroBatches []int   `json:"micro_batches"`     // What its sums will hold.
	Seconds      float64 `json:"seconds,omitempty"` // Time of a micro-batch.
	Reported     int     `json:"reported"`          // The last step that the coordinator has, as far as this rank knows.
	Pause        bool    `json:"pause,omitempty"`
	Save         bool    `json:"save,omitempty"`
}

// figures is what each rank tells all others once its sums have gone round. It holds floats as
// JSON numbers only where they are finite.
type figures struct {
	replica.Claim // Of the state that the gradients were computed with.

	Own    []gradient `json:"own,omitempty"`    // Audited ones in its sums.
	Audits []gradient `json:"audits,omitempty"` // What it computed again of others'.

	MicroBatches []int             `json:"micro_batches"` // What its sums held.
	Stats        []trainstep.Stats `json:"stats,omitempty"`
	NonFinite    string            `json:"nonfinite,omitempty"`
	ExposedMS    float64           `json:"exposed_ms"` // From the end of its last micro-batch to the complete sums.
}

// have is what each rank tells all others once it has the complete sums of a step.
type have struct {
	Replica replica.Digest `json:"replica"` // After this step's update.
}

// agreement is what the ranks said of an attempt.
type agreement struct {
	stats     trainstep.Stats
	nonFinite string
	shares    [][]int   // By rank.
	seconds   []float64 // By rank.
}

// exchange gathers the words of all ranks.
func (r *rank) exchange(ctx context.Context, e lifecycle.Exchange) (lifecycle.Event, error) {
	words, err := gather(ctx, r.ring, natsring.Operation{Step: e.Step, Attempt: e.Attempt}, "word", r.word(e))
	if err != nil {
		return nil, fmt.Errorf("exchange words: %w", err)
	}
	r.words = agreement{}
	ev := lifecycle.Exchanged{Step: e.Step, Attempt: e.Attempt}
	for _, w := range words {
		r.words.shares = append(r.words.shares, w.MicroBatches)
		r.words.seconds = append(r.words.seconds, w.Seconds)
		ev.Pause, ev.Save = ev.Pause || w.Pause, ev.Save || w.Save
	}
	r.res.reported(words[0].Reported)
	ev.Shares, ev.Seconds = r.words.shares, r.words.seconds
	return ev, nil
}

func (r *rank) word(e lifecycle.Exchange) word {
	w := word{MicroBatches: sorted(e.MicroBatches), Seconds: r.res.seconds(), Reported: r.w.delivered(e.Step)}
	w.Pause, w.Save = r.wish.asked()
	return w
}

// sorted is a sorted copy, never nil.
func sorted(microBatches []int) []int {
	return append([]int{}, slices.Sorted(slices.Values(microBatches))...)
}

// gather hands every rank's word to all.
func gather[T any](ctx context.Context, ring *natsring.Ring, op natsring.Operation, name string, mine T) ([]T, error) {
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

// confirm waits until every rank has the sums of the step, and the same state by them.
func (r *rank) confirm(ctx context.Context, e lifecycle.Confirm) error {
	all, err := gather(ctx, r.ring, natsring.Operation{Step: e.Step, Attempt: e.Attempt}, "have", have{r.res.replica})
	if err != nil {
		return fmt.Errorf("confirm step %d: %w", e.Step, err)
	}
	claims := make([]replica.Claim, len(all))
	for rank, h := range all {
		claims[rank] = replica.Claim{Then: h.Replica, Now: h.Replica}
	}
	return r.agree(e.Step+1, claims)
}

// bytes is what this rank sends for one reduction: 2·(N−1)/N of sums and exponents.
func (r *rank) bytes() int64 {
	world := int64(len(r.job.Nodes))
	return int64(len(r.res.sums.sums)*r.res.trainer.Format().Bytes()+len(r.res.sums.exps)) * 2 * (world - 1) / world
}
