package worker

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"yohaku/allreduce/fixedpoint"
	"yohaku/allreduce/natsring"
	"yohaku/internal/assert"
	"yohaku/internal/logkey"
	"yohaku/internal/rawbytes"
	"yohaku/internal/wire"
	"yohaku/worker/lifecycle"
)

// rank is this worker's part in one generation.
type rank struct {
	w    *Worker
	job  wire.TrainJob
	wish *wish
	log  zerolog.Logger
	ring *natsring.Ring
	res  *resident

	words  agreement // Of the current attempt.
	voided int       // Attempts of the current step that were void.
	pass   *pass     // Of the micro-batch under way, or the last; nil for none.
	times  ringTimes
	claims *claims
	asked  int // Claims made.
	feeds  []*feed
}

// train is one rank of a generation, from the first step to its end.
func (w *Worker) train(ctx context.Context, j wire.TrainJob, wish *wish) (wire.Done, error) {
	g := lifecycle.Generation{Epoch: j.Epoch, Number: j.Generation}
	if !w.loyal.begin(g, j.Nodes) {
		return w.whatIsHeld(), fmt.Errorf("generation %v is over, this worker has heard of %v", g, w.loyal.highest())
	}
	w.trained = g
	w.found.ringBegins()
	res, err := w.takeResident(j)
	if err != nil {
		return wire.Done{}, err
	}
	res.reported(j.FirstStep) // The coordinator has written those down before it made the generation.
	r := &rank{w: w, job: j, wish: wish, res: res}
	r.log = w.log.With().Uint64(logkey.Generation, j.Generation).Int(logkey.Rank, j.Rank).Int(logkey.WorldSize, len(j.Nodes)).Logger()
	format, err := fixedpoint.ParseFormat(j.Hyper.WireFormat)
	if err != nil {
		return w.whatIsHeld(), err
	}
	ring, err := natsring.New(natsring.Config{
		Conn: w.bus.Conn(), Direct: w.bus, RunID: w.loyal.runID, Names: j.Nodes, Rank: j.Rank, Epoch: j.Epoch, Generation: j.Generation, Format: format, JoinTimeout: joinTimeout, Log: w.o.Log, // The ring names itself.
	})
	if err != nil {
		return wire.Done{}, fmt.Errorf("start ring: %w", err)
	}
	r.ring, r.claims = ring, newClaims(r)
	claims, err := r.hear()
	if err != nil {
		return w.whatIsHeld(), errors.Join(err, ring.Close())
	}
	defer claims.Close()
	machine := r.machine()
	finish := r.run(ctx, machine)
	r.endFeeds(finish.Err == nil)
	saved := res.settle()
	res.holding = machine.Holding()
	w.resident = res
	called := errors.Is(finish.Err, errCalledBack)
	if called {
		finish.Err = nil // As asked: no failure.
	}
	finish.Err = errors.Join(finish.Err, saved)
	if !called && finish.Err == nil && j.Rank == 0 {
		finish.Err = w.outbox.flush(ctx) // The end of the generation is told after its checkpoint.
	}
	done := w.whatIsHeld()
	done.Step, done.Differ = finish.Step, difference(finish.Err, lifecycle.Generation{Epoch: j.Epoch, Number: j.Generation})
	done.Anew = res.holding.Loaded && j.Source == string(lifecycle.LoadState)
	return done, errors.Join(finish.Err, ring.Close())
}

// whatIsHeld is the end of a train job, as far as it depends on what is in memory.
func (w *Worker) whatIsHeld() wire.Done {
	if w.resident == nil {
		return wire.Done{Holding: &wire.Holding{}}
	}
	h := wire.Holding(w.resident.holding)
	h.Sums = h.Sums && !w.resident.alone()
	return wire.Done{Holding: &h}
}

func (r *rank) machine() *lifecycle.Machine {
	j := r.job
	return lifecycle.New(lifecycle.Config{
		Rank: j.Rank, MicroBatches: j.Hyper.GradientAccumulationSteps, Source: lifecycle.Source(j.Source),
		FirstStep: j.FirstStep, LastStep: j.Until, CheckpointingSteps: j.Hyper.CheckpointingSteps,
		HaltOnNonFinite: j.Hyper.NonFinitePolicy == "halt", Save: j.Save, First: j.First, Shares: j.Shares, TakeOver: true,
	}, r.res.holding)
}

// joinTimeout is how long a rank waits for a neighbour that never was heard. A rank that fetches
// its state is heard already: its ring is made before.
const joinTimeout = 30 * time.Second

// apply updates the parameters, and writes down what there is to tell of the step.
func (r *rank) apply(e lifecycle.Apply) {
	r.stateRead()
	res, a := r.res, r.words
	var digests sync.WaitGroup
	var sums, params string
	digests.Go(func() { sums = digest(res.sums.sums) })
	update := res.trainer.Apply(e.Step, res.sums.sums, res.sums.needed, e.Skip)
	r.w.o.Fault.update(e.Step, res.trainer)
	digests.Go(func() { params = digest(res.model.step.ParamSlab()) })
	res.replica = res.trainer.Digest()
	digests.Wait()
	now := time.Now()
	took := now.Sub(res.stepped)
	items := r.job.Hyper.TrainBatchSize * r.job.Hyper.GradientAccumulationSteps
	res.averaged(float64(items) / took.Seconds())
	res.steps = append(res.steps, wire.StepReport{
		Epoch: r.job.Epoch, Generation: r.job.Generation, Step: e.Step + 1, Loss: a.stats.Loss, LossMSE: a.stats.WinnerMSE, LossRatio: a.stats.LossRatio,
		WinnerMSE: a.stats.WinnerMSE, LoserMSE: a.stats.LoserMSE, LogOdds: a.stats.LogOdds, GradNorm: update.GradNorm,
		LearningRate: update.LearningRate, Items: items, Recomputed: r.voided, Skipped: e.Skip, NonFinite: a.nonFinite,
		DurationMS: milliseconds(took), RingMS: milliseconds(r.times.whole), RingExposedMS: milliseconds(r.times.exposed), RingBytes: r.bytes(),
		SumsSHA256: sums, ParamsSHA256: params, Replica: res.replica.String(), ItemsPerSecond: res.mean, Nodes: r.job.Nodes, Shares: a.shares, Seconds: a.seconds,
	})
	res.stepped, r.voided, r.times = now, 0, ringTimes{}
}

// averaged averages the items a second over about ten steps.
func (r *resident) averaged(now float64) {
	if r.mean == 0 {
		r.mean = now
	}
	r.mean += (now - r.mean) / 10
}

// commit tells the coordinator of the step, by the outbox. All ranks could, so rank 0 does.
func (r *rank) commit(e lifecycle.Commit) error {
	r.boundary(e.Step)
	if r.job.Rank != 0 {
		return nil
	}
	s := r.res.steps[len(r.res.steps)-1]
	assert.That(s.Step == e.Step, "step %d is committed, the last applied is %d", e.Step, s.Step)
	r.log.Info().Int(logkey.Step, s.Step).Float64(logkey.Loss, s.Loss).Float64(logkey.LossMSE, s.LossMSE).
		Float64(logkey.LossRatio, s.LossRatio).Float64(logkey.WinnerMSE, s.WinnerMSE).Float64(logkey.LoserMSE, s.LoserMSE).
		Float64(logkey.LogOdds, s.LogOdds).Float64(logkey.GradNorm, s.GradNorm).Float64(logkey.LearningRate, s.LearningRate).
		Float64(logkey.ItemsPerSecond, s.ItemsPerSecond).Float64(logkey.DurationMS, s.DurationMS).
		Float64(logkey.RingMS, s.RingMS).Float64(logkey.RingExposedMS, s.RingExposedMS).Msg("step committed")
	if r.w.listener != nil {
		return r.w.listener(s)
	}
	return r.w.outbox.post(item{step: &s})
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// digest is the SHA-256 of a slab's bytes as they lie in memory; ranks of one kernel set share
// their byte order.
func digest[T float32 | int32](slab []T) string {
	if len(slab) == 0 {
		return ""
	}
	sum := sha256.Sum256(rawbytes.Of(slab))
	return hex.EncodeToString(sum[:])
}
