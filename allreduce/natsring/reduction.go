package natsring

import (
	"context"
	"fmt"
	"time"

	"yohaku/allreduce"
	"yohaku/internal/logkey"
)

// Vectors are what a reduction reads and writes. Sums and Needed are read only, and stay what they were.
type Vectors struct {
	Sums   []int32 // This rank's sums; those of all ranks must not wrap (package fixedpoint).
	Needed []int8  // The exponents that its blocks need.

	OutSums   []int32 // The sums over all ranks.
	OutNeeded []int8  // The maxima over all ranks.

	// Mine is the set of micro-batches in Sums, All what must be in OutSums, each once: otherwise the reduction fails
	// everywhere with a TallyError or an AbortedError. Both empty: nothing is counted.
	Mine, All allreduce.Tally
}

// Reduction is an all-reduce that has begun. Its buckets are handed over in order, as soon as they are complete, while
// earlier ones travel already. One goroutine uses it.
type Reduction struct {
	ring    *Ring
	op      Operation
	call    *call
	buckets []allreduce.Span
	began   time.Time
	bytes   int
	err     error
	over    bool
}

// handover tells the owner how many buckets of an operation are complete.
type handover struct {
	key     key
	buckets int
}

// wholeElements is how much of a vector AllReduce makes one bucket. Each bucket has a start and an end, where ranks wait for
// each other.
const wholeElements = 64 << 20

// Begin starts an all-reduce with nothing handed over yet. The buckets cover the vectors, the same at all ranks and in the
// same order. Outputs must not overlap inputs. Every Reduction needs a Wait; nothing else runs on the ring until then. A
// caller that cannot go on ends ctx first: that aborts the attempt at all ranks.
//
// A chunk that comes for a bucket not handed over here waits, and its sender soon waits for credit. So a rank that is
// slower than the others costs them no more than its own delay.
func (r *Ring) Begin(ctx context.Context, op Operation, v Vectors, buckets []allreduce.Span) (*Reduction, error) {
	x := &Reduction{ring: r, op: op, buckets: buckets, began: time.Now(), bytes: len(v.Sums)*r.config.Format.Bytes() + len(v.Needed)}
	if err := r.check(op, &v, buckets); err != nil {
		return nil, err
	}
	var err error
	x.call, err = newCall(ctx, op, jobReduce, func() job {
		r.reduce.start(r.config.Rank, len(r.config.Names), r.config.Format, v, buckets)
		return &r.reduce
	})
	if err != nil {
		return nil, err
	}
	select {
	case r.calls <- x.call: // Even when ctx has ended: the other ranks are to be told.
	case <-r.closed:
		return nil, ErrClosed
	}
	return x, nil
}

func (r *Ring) check(op Operation, v *Vectors, buckets []allreduce.Span) error {
	if len(v.Sums) != len(v.OutSums) || len(v.Needed) != len(v.OutNeeded) {
		return fmt.Errorf("all-reduce step %d: outputs of %d sums and %d exponents for inputs of %d and %d", op.Step, len(v.OutSums), len(v.OutNeeded), len(v.Sums), len(v.Needed))
	}
	at := allreduce.Span{}
	for i, b := range buckets {
		if b.Lo != at.Hi || b.ExpLo != at.ExpHi || b.Hi < b.Lo || b.ExpHi < b.ExpLo {
			return fmt.Errorf("all-reduce step %d: bucket %d is %+v after one that ends at %d and %d; they must follow each other", op.Step, i, b, at.Hi, at.ExpHi)
		}
		at = b
	}
	if at.Hi != len(v.Sums) || at.ExpHi != len(v.Needed) || len(buckets) == 0 {
		return fmt.Errorf("all-reduce step %d: %d buckets cover %d sums and %d exponents of %d and %d", op.Step, len(buckets), at.Hi, at.ExpHi, len(v.Sums), len(v.Needed))
	}
	if len(r.config.Names) == 1 && v.Mine != v.All {
		return &TallyError{Generation: r.config.Generation, Operation: op, Missing: v.All.Count() - v.Mine.Count()}
	}
	return nil
}

// HandOver says that the first n buckets are complete: their inputs change no more until Wait has returned. n only grows.
// It does not wait for the network.
func (x *Reduction) HandOver(n int) {
	select {
	case x.ring.handovers <- handover{x.call.key, min(n, len(x.buckets))}:
	case <-x.ring.closed:
	}
}

// Wait waits until the outputs are complete, and the vectors are no longer touched. It may be called again.
//
// It returns ctx's cause when ctx ends first, then aborting the other ranks too, or a PeerLostError, AbortedError,
// SupersededError, ChunkLostError, TallyError or ErrClosed; the outputs are then undefined.
func (x *Reduction) Wait() error {
	if x.over {
		return x.err
	}
	x.over = true
	if err := <-x.call.reply; err != nil {
		x.err = fmt.Errorf("all-reduce step %d bucket %d: %w", x.op.Step, x.op.Bucket, err)
		return x.err
	}
	x.ring.log.Debug().Int(logkey.Step, x.op.Step).Int(logkey.Bucket, x.op.Bucket).Int(logkey.Bytes, x.bytes).
		Dur(logkey.DurationMS, time.Since(x.began)).Msg("buckets reduced")
	return nil
}
