package natsring

import (
	"context"
	"fmt"
	"time"
)

// run is the goroutine that has the machine to itself until Close.
func (r *Ring) run() {
	defer close(r.closed)
	ticker := time.NewTicker(min(tickPeriod, r.config.SilenceTimeout/(2*beatsPerSilence)))
	defer ticker.Stop()
	var running *call
	for {
		more := r.publishOne()
		running = r.settle(running)
		r.reclaim()
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

// mostInRow is how many chunks are taken before anything else gets its turn. Looking at one queue is cheaper than at all.
const mostInRow = 32

// await handles one event; when there is more to publish, it does not wait for one. open is false when the ring closes.
func (r *Ring) await(running *call, tick <-chan time.Time, more bool) (now *call, open bool) {
	if r.inRow < mostInRow {
		select {
		case b := <-r.dataFrames:
			r.inRow++
			r.take(b)
			return running, true
		default:
		}
	}
	r.inRow = 0
	calls, cancelled, publish := r.calls, (<-chan struct{})(nil), (<-chan struct{})(nil)
	if running != nil {
		calls, cancelled = nil, running.ctx.Done()
	}
	if more {
		publish = ready
	}
	select {
	case b := <-r.dataFrames:
		r.take(b)
	case b := <-r.ackFrames:
		r.machine.fromNext(time.Now(), b)
		r.pool.put(b)
	case m := <-r.data:
		r.take(m.Data)
	case m := <-r.acks:
		r.machine.fromNext(time.Now(), m.Data)
	case d := <-r.dialResults:
		r.pulled(d)
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

// take gives a frame of the previous rank to the machine, and back to the pool what that no longer needs.
func (r *Ring) take(frame []byte) {
	if !r.machine.fromPrevious(time.Now(), frame) {
		r.pool.put(frame)
	}
	if offer := r.machine.toDial; offer != "" {
		r.machine.toDial = ""
		r.dial(offer)
	}
}

func (r *Ring) reclaim() {
	for _, b := range r.machine.freed {
		r.pool.put(b)
	}
	clear(r.machine.freed)
	r.machine.freed = r.machine.freed[:0]
}

// pulled notes that the connection to the previous rank's server is there, or not.
func (r *Ring) pulled(d dialled) {
	if d.err == nil {
		r.pull = d.link
		r.machine.pulled(true)
		return
	}
	r.log.Warn().Err(d.err).Msg("no direct connection to the previous rank; its chunks come through the routes")
	r.pull.close()
	r.pull = nil
	r.machine.pulled(false)
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
	frame, to, ok := r.machine.nextFrame(r.scratch[lineRoom:lineRoom])
	if !ok {
		return false
	}
	if err := r.publish(to, r.scratch[:lineRoom+len(frame)]); err != nil {
		r.machine.publishFailed(err)
	}
	return true
}

// publish publishes b[lineRoom:].
func (r *Ring) publish(to way, b []byte) error {
	subject, on := r.toNext, r.own
	switch to {
	case nextRouted:
		on = nil
	case nextDirect:
		subject = r.bulk
	case prevRouted:
		subject, on = r.toPrevious, nil
	case prevDirect:
		subject, on = r.toPrevious, r.pull
	}
	var err error
	if on != nil {
		err = on.tap.publish(subject, b)
	} else {
		err = r.config.Conn.Publish(subject, b[lineRoom:])
	}
	switch {
	case err == nil:
		return nil
	case to == prevDirect:
		r.pulled(dialled{err: err}) // Not this operation's end: the previous rank hears of it through the routes.
		return nil
	}
	return fmt.Errorf("publish to %s: %w", subject, err)
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
	defer r.pull.close()
	defer r.own.close()
	defer r.cancelDials()
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
