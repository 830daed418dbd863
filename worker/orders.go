package worker

import (
	"context"
	"fmt"

	"yohaku/internal/bus"
	"yohaku/internal/wire"
	"yohaku/worker/lifecycle"
)

// take carries an order out.
func (w *Worker) take(ctx context.Context, o wire.Order) error {
	switch {
	case o.Hello:
		return w.rejoin(ctx, o)
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
	g := lifecycle.Generation{Epoch: o.Epoch, Number: o.Generation}
	if g.Before(w.loyal.highest()) {
		return // What is in hand is newer.
	}
	w.endJob(errCalledBack)
	w.loyal.begin(g, nil)
	ctx, cancel := context.WithTimeout(w.life, attemptTimeout)
	defer cancel()
	if err := w.finishJob(ctx, o.Cancel, w.whatIsHeld()); err != nil {
		w.log.Warn().Err(err).Msg("result not delivered")
	}
}

// startJob does a job and reports its end. The report waits for a coordinator for as long as it
// takes, or until the job is forgotten.
func (w *Worker) startJob(ctx context.Context, j wire.Job) {
	ctx, cancel := context.WithCancelCause(ctx)
	reporting, forget := context.WithCancel(w.life)
	r := &running{id: j.ID, cancel: cancel, forget: forget, done: make(chan struct{})}
	w.job = r
	go func() {
		defer close(r.done)
		defer forget()
		done := w.do(ctx, j, &r.wish)
		if err := w.finishJob(reporting, j.ID, done); err != nil {
			event := w.log.Warn() // The coordinator has given the job up.
			if reporting.Err() != nil {
				event = w.log.Debug() // It let this worker go, or gave it another job.
			}
			event.Err(err).Msg("result not delivered")
		}
	}()
}

// finishJob reports the end of a job; of a train job, first the steps that are in memory.
func (w *Worker) finishJob(ctx context.Context, id string, done wire.Done) error {
	if done.Holding != nil && w.resident != nil {
		if err := w.tellHeld(ctx, w.resident.told); err != nil {
			return err
		}
	}
	w.found.note(done.Differ)
	err := w.report(ctx, wire.Report{JobID: id, Done: &done})
	if err == nil {
		w.found.told(done.Differ)
	}
	return err
}

// endJob cancels the job in hand, if any, and waits for its end. Nobody waits for its result.
func (w *Worker) endJob(cause error) {
	if w.job == nil {
		return
	}
	w.job.cancel(cause)
	w.job.forget()
	<-w.job.done
	w.job = nil
}

// listen takes orders. An order is answered once it is in the owner's queue.
func (w *Worker) listen() error {
	var err error
	w.handler, err = w.calls.HandleAny(w.loyal.subjects().Node(w.name), 1, w.hear)
	if err != nil {
		return fmt.Errorf("listen for orders: %w", err)
	}
	if w.feeder, err = bus.Handle(w.bus.Conn(), w.loyal.subjects().Feeder(w.name), 1, w.wanted.handle); err != nil {
		return fmt.Errorf("listen for workers that join: %w", err)
	}
	return nil
}

// hear answers a question at once, and passes an order of the coordinator that this worker belongs to
// on to the owner.
func (w *Worker) hear(ctx context.Context, from string, data []byte) ([]byte, error) {
	var o wire.Order
	if err := wire.Decode(data, &o); err != nil {
		return nil, err
	}
	if o.Coordinator != from {
		return nil, fmt.Errorf("%w: %s gives orders as %q", wire.ErrMessage, from, o.Coordinator)
	}
	if o.Ask {
		return wire.Encode(w.standing()), nil
	}
	if o.Job != nil {
		if err := o.Job.Validate(); err != nil {
			return nil, err
		}
	}
	if o.Chaos != nil {
		if err := w.checkChaos(*o.Chaos); err != nil {
			return nil, err
		}
	}
	if err := w.loyal.hear(o); err != nil {
		return nil, err
	}
	if o.Trust != nil {
		return nil, w.adoptTrust(*o.Trust)
	}
	select {
	case w.orders <- o:
		return nil, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
