package worker

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"yohaku/allreduce"
	"yohaku/allreduce/bucket"
	"yohaku/allreduce/fixedpoint"
	"yohaku/allreduce/natsring"
	"yohaku/worker/lifecycle"
	"yohaku/worker/replica"
	"yohaku/worker/trainstep"
)

// bucketBytes bounds what goes round the ring at a time. Smaller buckets leave less to do after
// the backward pass, and cost more round trips.
const bucketBytes = 1 << 20

// ringTimes are the times of one reduction.
type ringTimes struct {
	whole   time.Duration // From the first bucket handed over to the complete sums.
	exposed time.Duration // From the end of the last micro-batch of all ranks to the complete sums.
}

// reduce takes the partial sums round the ring, bucket by bucket as the micro-batch under way
// completes them, and then what the ranks have to tell of their micro-batches. It does not write
// to the partial sums: they stay until the step is committed.
func (r *rank) reduce(ctx context.Context, e lifecycle.Reduce) (lifecycle.Event, error) {
	r.sumsRead()
	pass, s := r.pass, &r.res.sums
	copy(s.exps, r.res.trainer.State().Exponents)
	op := natsring.Operation{Step: e.Step, Attempt: e.Attempt}
	var ended time.Time
	var mine figures
	var whole time.Duration
	var complete time.Time
	work, both := errgroup.WithContext(ctx)
	work.Go(func() (err error) { // After the last micro-batch, beside the ring's end.
		if ended, err = pass.whole(both); err != nil {
			return err
		}
		mine.Now = r.res.trainer.Digest()
		mine.Audits, err = r.audit(e.Step)
		return err
	})
	work.Go(func() (err error) {
		whole, err = r.reduceBuckets(both, op, pass)
		complete = time.Now()
		return err
	})
	if err := work.Wait(); err != nil {
		return nil, fmt.Errorf("reduce gradients: %w", err)
	}
	exposed, err := r.tellFigures(ctx, op, mine, max(0, complete.Sub(ended)))
	if err != nil {
		return nil, err
	}
	r.times.whole += whole
	r.times.exposed += exposed
	return lifecycle.Reduced{
		Step: e.Step, Attempt: e.Attempt, Overflowed: r.res.trainer.Overflowed(s.needed), NonFinite: fixedpoint.FirstNonFinite(s.needed) >= 0,
	}, nil
}

// reduceBuckets returns the time from the first bucket on.
func (r *rank) reduceBuckets(ctx context.Context, op natsring.Operation, pass *pass) (time.Duration, error) {
	out, t := &r.res.sums, r.res.trainer
	sums, needed := t.Sums()
	reduction, err := r.ring.Begin(ctx, op, natsring.Vectors{
		Sums: sums, Needed: needed, OutSums: out.sums, OutNeeded: out.needed,
		Mine: allreduce.TallyOf(r.words.shares[r.job.Rank]...), All: allreduce.TallyAll(r.job.Hyper.GradientAccumulationSteps),
	}, bucket.Spans(r.res.buckets))
	if err != nil {
		return 0, err
	}
	var start time.Time
	for i := range r.res.buckets {
		if pass.wait(ctx, i) != nil {
			break // The reduction ends with ctx too.
		}
		if i == 0 {
			start = time.Now()
		}
		reduction.HandOver(i + 1)
	}
	err = reduction.Wait()
	return time.Since(start), err
}

// tellFigures gathers what all ranks have to tell of an attempt, and returns the time that the rank
// which computed longest waited for the sums. A *differError says that some gradients come from a
// wrong state, before the sums are applied.
func (r *rank) tellFigures(ctx context.Context, op natsring.Operation, mine figures, waited time.Duration) (time.Duration, error) {
	all, err := gather(ctx, r.ring, op, "figures", r.figures(op.Step, mine, waited))
	if err != nil {
		return 0, fmt.Errorf("exchange figures: %w", err)
	}
	claims := make([]replica.Claim, len(all))
	for rank, f := range all {
		claims[rank] = f.Claim
	}
	if err := r.agree(op.Step, claims); err != nil {
		return 0, err
	}
	if err := r.judgeAudits(ctx, op, all); err != nil {
		return 0, err
	}
	exposed := all[0].ExposedMS
	var stats []trainstep.Stats
	for rank, f := range all {
		if told := r.words.shares[rank]; !slices.Equal(f.MicroBatches, told) {
			return 0, fmt.Errorf("step %d attempt %d is void: the sums of rank %d hold micro-batches %v, it had told %v", op.Step, op.Attempt, rank, f.MicroBatches, told)
		}
		stats = append(stats, f.Stats...)
		exposed = min(exposed, f.ExposedMS)
		if r.words.nonFinite == "" {
			r.words.nonFinite = f.NonFinite
		}
	}
	r.words.stats = trainstep.Mean(stats)
	return time.Duration(exposed * float64(time.Millisecond)), nil
}

// figures fills in what is not in f yet.
func (r *rank) figures(step int, f figures, waited time.Duration) figures {
	res := r.res
	f.Then, f.Own, f.Stats, f.ExposedMS, f.MicroBatches = res.replica, r.own(), res.stats, milliseconds(waited), []int{}
	for _, s := range res.stats {
		f.MicroBatches = append(f.MicroBatches, s.MicroBatch)
	}
	slices.Sort(f.MicroBatches)
	if bad := res.trainer.Bad(); len(bad) > 0 {
		f.Stats = nil // Not finite either: JSON cannot hold them.
		f.NonFinite = fmt.Sprintf("gradient of %s in micro-batch %d:%s", bad[0].Param, bad[0].MicroBatch, res.model.describe(step, bad[0].MicroBatch))
	}
	return f
}
