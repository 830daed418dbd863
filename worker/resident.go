package worker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"yohaku/allreduce/bucket"
	"yohaku/allreduce/fixedpoint"
	"yohaku/internal/wire"
	"yohaku/model/layer"
	"yohaku/worker/lifecycle"
	"yohaku/worker/replica"
	"yohaku/worker/trainstep"
)

// resident is what a rank keeps in memory from generation to generation: parameters, optimizer
// state and exponents, the partial sums of the step under way, and the complete sums of the last.
type resident struct {
	key     string
	holding lifecycle.Holding
	built   bool
	base    wire.Model
	lora    *layer.LoRA // The adapters that are trained; nil for the UNet itself.

	pairs     *pairLatents
	model     *microBatches
	trainer   *trainstep.Trainer
	profiling *profiling
	replica   replica.Digest    // Of the state, taken when it was made.
	stats     []trainstep.Stats // Of the micro-batches in the partial sums.
	sums      complete
	steps     []wire.StepReport // Applied: those not known to be reported, and the last ones that are.
	told      int               // Steps that are known to be reported.
	buckets   []bucket.Bucket   // Of the sums, as they go round the ring.
	spans     []span            // Of the state, as it goes to one that follows.
	smooth    atomic.Uint64     // Time of a micro-batch in seconds, smoothed: the bits of a float64.
	mean      float64           // Items a second of the whole ring, smoothed.
	stepped   time.Time         // When the last step was applied.
	saving    *saving           // Of a checkpoint, until settle.
}

// complete are the sums over all ranks of one step, with the exponents that they were rounded
// with and those that they needed.
type complete struct {
	sums         []int32
	exps, needed fixedpoint.Exponents
}

// residentKey names what a resident can be used for.
func residentKey(j wire.TrainJob) string {
	sum := sha256.Sum256(wire.Encode(wire.TrainJob{Model: j.Model, Shards: j.Shards, Pairs: j.Pairs, LastStep: j.LastStep, Hyper: j.Hyper}))
	return hex.EncodeToString(sum[:])
}

// takeResident takes out what is in memory, if it is of this run, or an empty one. Who takes it
// puts it back with w.resident; after a panic it stays away, as nobody knows what it holds.
func (w *Worker) takeResident(j wire.TrainJob) (*resident, error) {
	w.stopFollowing()
	r, key := w.resident, residentKey(j)
	w.resident = nil
	if r != nil && r.key == key {
		return r, nil
	}
	err := r.close()
	return &resident{key: key}, err
}

// dropResident frees the memory.
func (w *Worker) dropResident() error {
	r := w.resident
	w.resident = nil
	return r.close()
}

// close releases the files that the rank reads, and writes its profile. It may be called on nil.
func (r *resident) close() error {
	if r == nil || r.pairs == nil {
		return nil
	}
	return errors.Join(r.profiling.end(), r.pairs.close())
}

// prepare gets everything ready to be a rank. The state comes from a rank of the ring that is to be
// followed, if that can be; it tells so.
func (w *Worker) prepare(ctx context.Context, j wire.TrainJob) (following bool, err error) {
	r, err := w.takeResident(j)
	if err != nil {
		return false, err
	}
	if err := w.build(ctx, r, j); err != nil {
		return false, err
	}
	w.resident, r.holding = r, lifecycle.Holding{}
	if j.Follow == "" {
		return false, nil
	}
	if err := w.follow(ctx, r, j.Follow); err != nil {
		w.log.Warn().Err(err).Msg("ring not followed, the state is had at a step boundary")
		return false, nil
	}
	return true, nil
}

// plan cuts the sums into buckets, and the state into spans.
func (r *resident) plan() error {
	l := r.trainer.Layout()
	var err error
	if r.buckets, err = bucket.Plan(l, r.trainer.Format(), bucketBytes); err != nil {
		return fmt.Errorf("plan buckets: %w", err)
	}
	r.spans = spansOf(r.trainer.Params())
	r.sums = complete{nil, fixedpoint.NewNeeded(l.Blocks()), fixedpoint.NewNeeded(l.Blocks())}
	return nil
}

// keptReports is how many reported steps a rank keeps: a coordinator that takes over from a copy of
// the run folder lacks the last ones.
const keptReports = 1024

// reported notes that the coordinator has the steps up to last, and forgets those before the last ones.
func (r *resident) reported(last int) {
	r.told = max(r.told, last)
	known := 0
	for known < len(r.steps) && r.steps[known].Step <= r.told {
		known++
	}
	if known > 2*keptReports {
		r.steps = slices.Clone(r.steps[known-keptReports:])
	}
}

// after are the steps in memory after the given one.
func (r *resident) after(step int) []wire.StepReport {
	i := slices.IndexFunc(r.steps, func(s wire.StepReport) bool { return s.Step > step })
	if i < 0 {
		return nil
	}
	return r.steps[i:]
}

// forget empties what is held; the graph stays.
func (r *resident) forget() { r.holding, r.steps, r.told = lifecycle.Holding{}, nil, 0 }

// timed smooths the time of a micro-batch.
func (r *resident) timed(d time.Duration) {
	old := r.seconds()
	if old == 0 {
		old = d.Seconds()
	}
	r.smooth.Store(math.Float64bits(old + (d.Seconds()-old)/8))
}

// seconds is the smoothed time of a micro-batch, 0 for unknown. It may be asked for while one is computed.
func (r *resident) seconds() float64 { return math.Float64frombits(r.smooth.Load()) }

// donate hands over the state of a step, the complete sums that led to it, or both.
func (w *Worker) donate(ctx context.Context, j wire.DonateJob) (wire.Done, error) {
	w.stopFollowing() // The ring has ended: what was followed is held, whole.
	r := w.resident
	if r == nil || !r.holding.Loaded || r.holding.Applied != j.Step || j.Sums && (!r.holding.Sums || r.alone()) {
		return w.whatIsHeld(), fmt.Errorf("state of step %d is not in memory here; it was when this worker last reported", j.Step)
	}
	var done wire.Done
	if err := w.unchanged(r, j.Step); err != nil {
		r.forget()
		done = w.whatIsHeld()
		done.Differ = difference(err, w.trained)
		return done, err
	}
	if j.Sums {
		data, err := r.sums.encode(j.Step)
		if err != nil {
			return done, err
		}
		ref, err := w.files.put(ctx, data)
		if err != nil {
			return done, err
		}
		done.Sums = &ref
	}
	if j.State {
		state, err := putState(r, r.checkpointState(j.Step), func(fill func(io.Writer) error) (wire.Ref, error) { return w.files.putFilled(ctx, fill) })
		if err != nil {
			return done, err
		}
		done.State = state
	}
	return done, nil
}
