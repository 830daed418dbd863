package natsring

import (
	"context"
	"fmt"
	"time"
)

// own is the goroutine that has the machine to itself until Close.
func (r *Ring) own() {
	defer close(r.closed)
	ticker := time.NewTicker(min(tickPeriod, r.config.SilenceTimeout/(2*beatsPerSilence)))
	defer ticker.Stop()
	var running *call
	for {
		more := r.publishOne()
		running = r.settle(running)
		var open bool
		if running, open = r.await(running, ticker.C, more); !open {
			r.shutDown(running)
			return
		}
		running = r.settle(running)
	}
}

// ready is always ready: with it in a select, nothing waits.
var ready = func() <-chan struct{} { c := make(chan struct{}); close(c); return c }()

// await handles one event; when there is more to publish, it does not wait for one. open is false when the ring closes.
func (r *Ring) await(running *call, tick <-chan time.Time, more bool) (now *call, open bool) {
	calls, cancelled, publish := r.calls, (<-chan struct{})(nil), (<-chan struct{})(nil)
	if running != nil {
		calls, cancelled = nil, running.ctx.Done()
	}
	if more {
		publish = ready
	}
	select {
	case m := <-r.data:
		r.machine.fromPrevious(time.Now(), m.Data)
	case m := <-r.acks:
		r.machine.fromNext(time.Now(), m.Data)
	case h := <-r.handovers:
		r.machine.handOver(h.key, h.buckets)
	case c := <-calls:
		running = r.begin(c)
	case <-cancelled:
		r.machine.cancel(context.Cause(running.ctx))
	case <-tick:
		r.machine.tick(time.Now())
		r.warnOfDrops()
	case look := <-r.inspect:
		look(r.machine)
	case <-publish:
	case <-r.closing:
		return running, false
	}
	return running, true
}

// begin gives the call's operation to the machine, or answers at once when it cannot begin.
func (r *Ring) begin(c *call) *call {
	if err := context.Cause(c.ctx); err != nil {
		r.machine.abandon(c.key.position, err)
		c.reply <- err
		return nil
	}
	if err := r.machine.begin(time.Now(), c.key, c.start()); err != nil {
		c.reply <- err
		return nil
	}
	return c
}

// publishOne publishes the machine's next frame, if it has one.
func (r *Ring) publishOne() bool {
	frame, toNext, ok := r.machine.nextFrame(r.scratch[:0])
	if !ok {
		return false
	}
	subject := r.toPrevious
	if toNext {
		subject = r.toNext
	}
	if err := r.config.Conn.Publish(subject, frame); err != nil {
		r.machine.publishFailed(fmt.Errorf("publish to %s: %w", subject, err))
	}
	return true
}

// settle answers the running call when its operation has ended.
func (r *Ring) settle(running *call) *call {
	o, ended := r.machine.takeOutcome()
	if !ended {
		return running
	}
	running.reply <- o.err
	return nil
}

const flushTimeout = time.Second

func (r *Ring) shutDown(running *call) {
	r.machine.cancel(ErrClosed)
	r.settle(running)
	if r.config.Conn == nil || r.config.Conn.IsClosed() || len(r.subs) == 0 {
		return
	}
	for r.publishOne() {
	}
	r.unsubscribe()
	if err := r.config.Conn.FlushTimeout(flushTimeout); err != nil {
		r.log.Debug().Err(err).Msg("ring's last frames not flushed")
	}
}

// warnOfDrops says once that frames arrive which this ring's neighbours do not send.
func (r *Ring) warnOfDrops() {
	if d := r.machine.drops; !r.warned && (d.malformed > 0 || d.foreign > 0 || d.full > 0) {
		r.warned = true
		err := fmt.Errorf("%d malformed, %d of another ring or rank, %d beyond credit", d.malformed, d.foreign, d.full)
		r.log.Warn().Err(err).Msg("ring frames dropped")
	}
}
