package worker

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"

	"yohaku/worker/lifecycle"
)

// effects performs a machine's effects. Those that take time run beside the loop, and their
// events come back by a channel: a micro-batch is computed while the ring is at work.
type effects struct {
	r       *rank
	ctx     context.Context
	cancel  context.CancelFunc
	running sync.WaitGroup
	ended   chan ended
}

// ended is how an effect ended.
type ended struct {
	event    lifecycle.Event
	panicked any
}

// maxRunning is the room for effects that end when nobody listens any more: no more run at a time.
const maxRunning = 8

// errNotBegun reports that an effect was not begun, because the job was cancelled before.
var errNotBegun = errors.New("not begun")

// run performs the machine's effects until it finishes. When it returns, nothing runs any more.
func (r *rank) run(ctx context.Context, machine *lifecycle.Machine) lifecycle.Finish {
	e := &effects{r: r, ended: make(chan ended, maxRunning)}
	e.ctx, e.cancel = context.WithCancel(ctx)
	defer e.stop()
	queue := machine.Step(lifecycle.Started{})
	for {
		for _, effect := range queue {
			if finish, ok := effect.(lifecycle.Finish); ok {
				return finish
			}
			e.begin(effect)
		}
		queue = machine.Step(e.next())
	}
}

// next waits for the next event: the end of an effect, or another rank's claim.
func (e *effects) next() lifecycle.Event {
	for {
		select {
		case end := <-e.ended:
			if end.panicked != nil {
				panic(end.panicked)
			}
			return end.event
		case p := <-e.r.claims.arriving:
			if claim, ok := e.r.claims.event(p); ok {
				return claim
			}
		}
	}
}

// stop ends what runs, and waits for it.
func (e *effects) stop() {
	e.cancel()
	e.running.Wait()
}

// begin performs an effect that takes no time, and starts another one.
func (e *effects) begin(effect lifecycle.Effect) {
	r := e.r
	switch effect := effect.(type) {
	case lifecycle.Revert:
		e.stop() // The generation ends, and exponents change.
		r.res.trainer.Revert()
		r.res.replica.Grid = r.res.trainer.Digest().Grid
	case lifecycle.Clear:
		if r.res.alone() {
			r.sumsRead()
		}
		r.res.trainer.Clear()
		r.res.stats, r.pass = r.res.stats[:0], nil
	case lifecycle.Recalibrate:
		r.voided++
		r.res.trainer.Recalibrate(r.res.sums.needed)
		r.res.replica.Grid = r.res.trainer.Digest().Grid
	case lifecycle.Compute:
		pass := newPass(r.res.buckets)
		r.pass = pass
		e.start(func() lifecycle.Event { return r.compute(e.ctx, effect, pass) })
	case lifecycle.Give:
		r.claims.give(effect)
	case lifecycle.Ask:
		rest, _ := r.pass.left(r.res.seconds())
		e.start(func() lifecycle.Event {
			return e.outcome(func() (lifecycle.Event, error) { return r.ask(e.ctx, effect, rest) })
		})
	default:
		e.start(func() lifecycle.Event {
			return e.outcome(func() (lifecycle.Event, error) { return r.perform(e.ctx, effect) })
		})
	}
}

// start runs f beside the loop.
func (e *effects) start(f func() lifecycle.Event) {
	e.running.Go(func() {
		var end ended
		defer func() {
			if p := recover(); p != nil {
				end.panicked = fmt.Sprintf("%v\n%s", p, debug.Stack())
			}
			e.ended <- end
		}()
		end.event = f()
	})
}

// outcome performs an effect and returns the event that it ends with.
func (e *effects) outcome(perform func() (lifecycle.Event, error)) lifecycle.Event {
	err := errNotBegun
	var ev lifecycle.Event
	var differ *differError
	if e.ctx.Err() == nil {
		ev, err = perform()
	}
	switch {
	case err == nil:
		return ev
	case errors.As(err, &differ):
		failed := differ.failed(e.r.w.name)
		if failed.Lost {
			e.r.res.steps = nil // As wrong as the state.
		}
		return failed
	case e.ctx.Err() != nil:
		return lifecycle.Failed{Err: context.Cause(e.ctx)}
	}
	return lifecycle.Failed{Err: err}
}

// perform performs one effect. An update is not interrupted.
func (r *rank) perform(ctx context.Context, effect lifecycle.Effect) (lifecycle.Event, error) {
	switch e := effect.(type) {
	case lifecycle.Sync:
		return lifecycle.Synced{}, r.sync(ctx, e.Source)
	case lifecycle.Exchange:
		return r.exchange(ctx, e)
	case lifecycle.Reduce:
		return r.reduce(ctx, e)
	case lifecycle.Apply:
		if err := r.res.settle(); err != nil {
			return nil, err
		}
		r.apply(e)
		return lifecycle.Applied{Step: e.Step}, nil
	case lifecycle.Confirm:
		return lifecycle.Confirmed{Step: e.Step}, r.confirm(ctx, e)
	case lifecycle.Commit:
		return lifecycle.Committed{Step: e.Step}, r.commit(e)
	case lifecycle.Save:
		return lifecycle.Saved{Step: e.Step}, r.save(e.Step)
	}
	panic("unreachable: unknown effect")
}
