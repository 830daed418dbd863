package worker

import (
	"context"
	"fmt"
	"time"

	"yohaku/allreduce/bucket"
	"yohaku/worker/lifecycle"
)

// pass is the computing of one micro-batch, as the ring sees it: which buckets of the partial sums
// have all that it adds. A nil pass is over: there was nothing to compute.
type pass struct {
	buckets []bucket.Bucket
	ready   []chan struct{} // By bucket; closed when it is.
	next    int             // The first bucket that is not ready.
	over    chan struct{}   // Closed at the end.
	began   time.Time
	at      time.Time // Of the end.
}

func newPass(buckets []bucket.Bucket) *pass {
	p := &pass{buckets: buckets, ready: make([]chan struct{}, len(buckets)), over: make(chan struct{}), began: time.Now()}
	for i := range p.ready {
		p.ready[i] = make(chan struct{})
	}
	return p
}

// added notes that the gradients of tensors 0 to i are in the partial sums.
func (p *pass) added(i int) {
	for ready := bucket.Ready(p.buckets, i+1); p.next < ready; p.next++ {
		close(p.ready[p.next])
	}
}

// end notes that the micro-batch is in the partial sums.
func (p *pass) end() {
	p.at = time.Now()
	close(p.over)
}

// wait waits until bucket i is ready.
func (p *pass) wait(ctx context.Context, i int) error {
	if p == nil {
		return nil
	}
	return await(ctx, p.ready[i])
}

// whole waits for the end, and tells when it was.
func (p *pass) whole(ctx context.Context) (time.Time, error) {
	if p == nil {
		return time.Time{}, nil
	}
	if err := await(ctx, p.over); err != nil {
		return time.Time{}, err
	}
	return p.at, nil
}

func await(ctx context.Context, c <-chan struct{}) error {
	select {
	case <-c:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the micro-batch under way: %w", context.Cause(ctx))
	}
}

// compute adds a micro-batch to the partial sums. It is not interrupted.
func (r *rank) compute(ctx context.Context, e lifecycle.Compute, p *pass) lifecycle.Event {
	dropped := lifecycle.Dropped{Step: e.Step, Attempt: e.Attempt, MicroBatch: e.MicroBatch}
	if ctx.Err() != nil {
		dropped.Err = context.Cause(ctx)
		return dropped
	}
	r.w.o.Fault.compute(e.Step, r.res.trainer)
	start := time.Now()
	stats, err := r.res.trainer.Add(e.Step, e.MicroBatch, p.added)
	if err != nil {
		dropped.Err, dropped.Torn = err, true
		return dropped
	}
	r.res.stats = append(r.res.stats, stats)
	r.res.timed(time.Since(start))
	p.end()
	return lifecycle.Computed(e)
}
