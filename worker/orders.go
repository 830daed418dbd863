package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"yohaku/internal/bus"
	"yohaku/internal/wire"
)

// take carries an order out.
func (w *Worker) take(ctx context.Context, o wire.Order) error {
	switch {
	case o.Hello:
		return w.rejoin(ctx)
	case o.Chaos != nil:
		w.chaos(*o.Chaos)
	case o.Job != nil && o.Job.Kind == wire.JobTrain && w.job != nil && w.job.id == o.Job.ID: // It came twice.
	case o.Job != nil:
		w.endJob(errCalledBack) // A new job replaces one that the coordinator gave up.
		w.startJob(ctx, *o.Job)
	case o.Cancel != "":
		w.callBack(o)
	case w.job == nil:
	case o.Pause == w.job.id:
		w.job.wish.save.Store(o.Save)
		w.job.wish.pause.Store(true)
	}
	return nil
}

// callBack cancels a job. One that is not in hand, or has ended without the coordinator hearing
// of it, is answered here.
func (w *Worker) callBack(o wire.Order) {
	if w.job != nil && w.job.id == o.Cancel {
		select {
		case <-w.job.done:
		default:
			w.job.cancel(errCalledBack)
			return
		}
	}
	if o.Generation < w.generation.Load() {
		return // What is in hand is newer.
	}
	w.endJob(errCalledBack)
	w.generation.Store(o.Generation)
	done := w.whatIsHeld()
	if err := w.reportWithin(attemptTimeout, wire.Report{JobID: o.Cancel, Done: &done}); err != nil {
		w.log.Warn().Err(err).Msg("result not delivered")
	}
}

func (w *Worker) startJob(ctx context.Context, j wire.Job) {
	ctx, cancel := context.WithCancelCause(ctx)
	r := &running{id: j.ID, cancel: cancel, done: make(chan struct{})}
	w.job = r
	go func() {
		defer close(r.done)
		done := w.do(ctx, j, &r.wish)
		if err := w.report(wire.Report{JobID: j.ID, Done: &done}); err != nil {
			event := w.log.Warn() // The coordinator is gone, or has given the job up.
			if w.life.Err() != nil {
				event = w.log.Debug() // It let this worker go.
			}
			event.Err(err).Msg("result not delivered")
		}
	}()
}

// endJob cancels the job in hand, if any, and waits for its end.
func (w *Worker) endJob(cause error) {
	if w.job == nil {
		return
	}
	w.job.cancel(cause)
	<-w.job.done
	w.job = nil
}

// report sends r to the coordinator and waits until it is kept.
func (w *Worker) report(r wire.Report) error { return w.reportWithin(reportTimeout, r) }

func (w *Worker) reportWithin(limit time.Duration, r wire.Report) error {
	if w.listener != nil {
		return w.listener(r)
	}
	ctx, cancel := context.WithTimeout(w.life, limit)
	defer cancel()
	r.Node = w.name
	err := w.deliver(ctx, wire.Encode(r))
	var said *bus.RemoteError
	if errors.As(err, &said) && said.Code == wire.CodeUnknownNode {
		select {
		case w.again <- struct{}{}:
		default: // It is about to.
		}
	}
	if err != nil {
		return fmt.Errorf("report to the coordinator: %w", err)
	}
	return nil
}

// deliver sends a report until it is answered: a question or an answer is lost with its route.
// So the coordinator may get it twice.
func (w *Worker) deliver(ctx context.Context, report []byte) error {
	for {
		attempt, cancel := context.WithTimeout(ctx, attemptTimeout)
		_, err := w.calls.CallReady(attempt, coordinatorName, w.subjects.Report(), report)
		cancel()
		var said *bus.RemoteError
		if err == nil || errors.As(err, &said) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(attemptPause):
		}
	}
}
