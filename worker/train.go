package worker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"
	"unsafe"

	"github.com/rs/zerolog"

	"yohaku/allreduce/natsring"
	"yohaku/internal/logkey"
	"yohaku/internal/wire"
	"yohaku/worker/lifecycle"
	"yohaku/worker/trainstep"
)

// rank is this worker's part in one generation.
type rank struct {
	w       *Worker
	id      string
	job     wire.TrainJob
	pause   <-chan struct{}
	log     zerolog.Logger
	machine *lifecycle.Machine
	ring    ring

	pairs   *pairLatents
	model   *microBatches
	trainer *trainstep.Trainer
	reducer *reducer
	state   *wire.TrainState // Of the last checkpoint handed over; rank 0 only.

	stats   []trainstep.Stats
	agreed  agreement
	params  string // Digest of the parameters.
	voided  int    // Attempts of the current step that were void.
	stepped time.Time
	mean    float64 // Items a second, smoothed.
}

// train is one rank of a generation, from the checkpoint to its end.
func (w *Worker) train(ctx context.Context, id string, j wire.TrainJob, pause <-chan struct{}) (wire.Done, error) {
	r := &rank{
		w: w, id: id, job: j, pause: pause, stepped: time.Now(),
		machine: lifecycle.New(lifecycle.Config{
			FirstStep: j.FirstStep, LastStep: j.LastStep, CheckpointingSteps: j.Hyper.CheckpointingSteps,
			HaltOnNonFinite: j.Hyper.NonFinitePolicy == "halt",
		}),
		log: w.log.With().Uint64(logkey.Generation, j.Generation).Int(logkey.Rank, j.Rank).Int(logkey.WorldSize, len(j.Nodes)).Logger(),
	}
	ring, err := natsring.New(natsring.Config{
		Conn: w.bus.Conn(), RunID: w.subjects.RunID, Names: j.Nodes, Rank: j.Rank, Generation: j.Generation, JoinTimeout: joinTimeout, Log: w.o.Log, // The ring names itself.
	})
	if err != nil {
		return wire.Done{}, fmt.Errorf("start ring: %w", err)
	}
	r.ring = ring
	finish := r.run(ctx)
	done := wire.Done{Step: finish.Step, Paused: finish.Paused, State: r.state}
	if errors.Is(finish.Err, errCalledBack) {
		finish.Err = nil // As asked: no failure.
	}
	return done, errors.Join(finish.Err, ring.Close(), r.close())
}

// close releases the files that the rank reads.
func (r *rank) close() error {
	if r.pairs == nil {
		return nil
	}
	return r.pairs.close()
}

// joinTimeout is how long a rank waits for a neighbour that never was heard. A rank that fetches
// its state is heard already: its ring is made before.
const joinTimeout = 30 * time.Second

// run performs the machine's effects until it finishes.
func (r *rank) run(ctx context.Context) lifecycle.Finish {
	queue := r.machine.Step(lifecycle.Started{})
	for {
		effect := queue[0]
		queue = queue[1:]
		if finish, ok := effect.(lifecycle.Finish); ok {
			return finish
		}
		ev, err := r.perform(ctx, effect)
		if err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			ev, queue = lifecycle.Failed{Err: err}, nil
		}
		if ev != nil {
			queue = append(queue, r.machine.Step(ev)...)
		}
	}
}

// perform performs one effect and returns the event that it ends with, if any.
func (r *rank) perform(ctx context.Context, effect lifecycle.Effect) (lifecycle.Event, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	switch e := effect.(type) {
	case lifecycle.Sync:
		return lifecycle.Synced{}, r.sync(ctx)
	case lifecycle.Compute:
		return lifecycle.Computed{Step: e.Step, Attempt: e.Attempt}, r.compute(e)
	case lifecycle.Reduce:
		return r.reduce(ctx, e)
	case lifecycle.Recalibrate:
		r.voided++
		r.trainer.Recalibrate(r.agreed.needed)
		return nil, nil
	case lifecycle.Apply:
		return lifecycle.Applied{Step: e.Step}, r.apply(e)
	case lifecycle.Save:
		return lifecycle.Saved{Step: e.Step}, r.save(ctx, e.Step)
	}
	panic("unreachable: unknown effect")
}

func (r *rank) compute(e lifecycle.Compute) error {
	stats, err := r.trainer.Compute(e.Step, r.job.Assignment[r.job.Rank])
	r.stats = stats
	return err
}

// reduce takes the sums round the ring.
func (r *rank) reduce(ctx context.Context, e lifecycle.Reduce) (lifecycle.Event, error) {
	mine := control{ParamsSHA256: r.params, Stats: r.stats, Pause: r.pauseAsked()}
	if bad := r.trainer.Bad(); len(bad) > 0 {
		mine.Stats = nil // Not finite either: JSON cannot hold them.
		mine.NonFinite = fmt.Sprintf("gradient of %s in micro-batch %d:%s", bad[0].Param, bad[0].MicroBatch, r.model.describe(e.Step, bad[0].MicroBatch))
	}
	sums, needed := r.trainer.Sums()
	a, err := r.reducer.reduce(ctx, natsring.Operation{Step: e.Step, Attempt: e.Attempt}, sums, needed, mine)
	if err != nil {
		return nil, err
	}
	r.agreed = a
	return lifecycle.Reduced{
		Step: e.Step, Attempt: e.Attempt, Overflowed: r.trainer.Overflowed(a.needed), NonFinite: a.nonFinite != "", Pause: a.pause,
	}, nil
}

// pauseAsked tells whether the coordinator asked this rank to pause.
func (r *rank) pauseAsked() bool {
	select {
	case <-r.pause:
		return true
	default:
		return false
	}
}

// apply updates the parameters and tells of the step.
func (r *rank) apply(e lifecycle.Apply) error {
	update := r.trainer.Apply(e.Step, r.agreed.sums, r.agreed.needed, e.Skip)
	r.params = digest(r.model.step.ParamSlab())
	if r.job.Rank != 0 {
		return nil
	}
	a := r.agreed
	now := time.Now()
	items := r.job.Hyper.TrainBatchSize * r.job.Hyper.GradientAccumulationSteps
	report := wire.StepReport{
		Generation: r.job.Generation, Step: e.Step + 1, Loss: a.stats.Loss, LossMSE: a.stats.WinnerMSE, LossRatio: a.stats.LossRatio,
		WinnerMSE: a.stats.WinnerMSE, LoserMSE: a.stats.LoserMSE, LogOdds: a.stats.LogOdds, GradNorm: update.GradNorm,
		LearningRate: update.LearningRate, Items: items, Recomputed: r.voided, Skipped: e.Skip, NonFinite: a.nonFinite,
		DurationMS: milliseconds(now.Sub(r.stepped)), RingMS: milliseconds(a.duration), RingBytes: a.bytes,
		SumsSHA256: digest(a.sums), ParamsSHA256: r.params,
	}
	report.ItemsPerSecond = r.speed(float64(items) / now.Sub(r.stepped).Seconds())
	r.stepped, r.voided = now, 0
	r.log.Info().Int(logkey.Step, report.Step).Float64(logkey.Loss, report.Loss).Float64(logkey.LossMSE, report.LossMSE).
		Float64(logkey.LossRatio, report.LossRatio).Float64(logkey.WinnerMSE, report.WinnerMSE).Float64(logkey.LoserMSE, report.LoserMSE).
		Float64(logkey.LogOdds, report.LogOdds).Float64(logkey.GradNorm, report.GradNorm).Float64(logkey.LearningRate, report.LearningRate).
		Float64(logkey.ItemsPerSecond, report.ItemsPerSecond).Float64(logkey.DurationMS, report.DurationMS).Msg("step committed")
	return r.w.report(wire.Report{JobID: r.id, Step: &report})
}

// speed smooths the items a second over about ten steps.
func (r *rank) speed(now float64) float64 {
	if r.mean == 0 {
		r.mean = now
	}
	r.mean += (now - r.mean) / 10
	return r.mean
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// digest is the SHA-256 of a slab's bytes as they lie in memory; ranks of one kernel set share
// their byte order.
func digest[T float32 | int32](slab []T) string {
	if len(slab) == 0 {
		return ""
	}
	sum := sha256.Sum256(unsafe.Slice((*byte)(unsafe.Pointer(&slab[0])), 4*len(slab)))
	return hex.EncodeToString(sum[:])
}
