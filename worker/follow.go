package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"yohaku/allreduce/fixedpoint"
	"yohaku/internal/bus"
	"yohaku/internal/logkey"
	"yohaku/internal/rawbytes"
	"yohaku/internal/wire"
	"yohaku/worker/lifecycle"
	"yohaku/worker/replica"
)

// Timing of a worker that follows a ring.
const (
	followEvery    = time.Second      // How often it asks to be fed.
	followPatience = 10 * time.Second // How long its asking may fail.
)

// follower catches up with a ring while that goes on, from the stream of one of its ranks:
//
//	open, then at each step boundary
//	  sums, exps, needed, apply — of the step, from the second boundary on
//	  params, m, v of some      — as they are at the boundary, each element once
//	grid, whole                 — when all of the state was sent
//
// The update is elementwise, and its clip coefficient follows from the sums. So it is applied to
// all of the state at each step: what was not received yet is wrong, until it is overwritten by what
// is received at a later step. Whether the whole is right its digest tells.
type follower struct {
	res    *resident
	stream uint64

	mu    sync.Mutex
	steps int            // In the state.
	now   replica.Digest // Of the state, since it is whole.
	whole chan struct{}
	ready bool
	err   error

	handler *bus.Handler
}

// Errors of the stream.
var (
	errStaleStream = errors.New("another stream is followed")
	errNotFollowed = errors.New("the ring cannot be followed")
)

// follow catches up with the ring of the donor. When it fails, the state is had at a step boundary.
func (w *Worker) follow(ctx context.Context, r *resident, donor string) error {
	f := &follower{res: r, stream: uint64(time.Now().UnixNano()), whole: make(chan struct{})}
	r.trainer.Reset()
	var err error
	if f.handler, err = bus.Handle(w.bus.Conn(), w.loyal.subjects().Follower(w.name), feedWindow, f.handle); err != nil {
		return err
	}
	begun := time.Now()
	if err := w.askToBeFed(ctx, f, donor); err != nil {
		f.handler.Close()
		return err
	}
	w.follower = f
	w.log.Info().Str(logkey.Peer, donor).Int(logkey.Step, f.steps).Dur(logkey.DurationMS, time.Since(begun)).Msg("caught up with the ring while it went on")
	return nil
}

// askToBeFed asks until the state is whole. The donor may be between two generations.
func (w *Worker) askToBeFed(ctx context.Context, f *follower, donor string) error {
	ticker := time.NewTicker(followEvery)
	defer ticker.Stop()
	heard := time.Now()
	wish := wire.Encode(follow{w.name, f.stream})
	for {
		ask, cancel := context.WithTimeout(ctx, attemptTimeout)
		_, err := bus.CallReady(ask, w.bus.Conn(), w.loyal.subjects().Feeder(donor), wish)
		cancel()
		if err == nil {
			heard = time.Now()
		} else if time.Since(heard) > followPatience {
			return fmt.Errorf("%w: %w", errNotFollowed, err)
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-f.whole:
			f.mu.Lock()
			defer f.mu.Unlock()
			return f.err
		case <-ticker.C:
		}
	}
}

// stopFollowing ends the stream, and tells what it led to.
func (w *Worker) stopFollowing() {
	f := w.follower
	if f == nil {
		return
	}
	w.follower = nil
	f.handler.Close()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.res.holding = lifecycle.Holding{}
	f.res.steps = nil
	if f.ready && f.err == nil {
		f.res.holding = lifecycle.Holding{Loaded: true, Applied: f.steps}
		f.res.replica = f.now
	}
}

// handle takes a chunk.
func (f *follower) handle(_ context.Context, data []byte) ([]byte, error) {
	c, err := decodeChunk(data)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case c.stream != f.stream:
		return nil, errStaleStream
	case f.err != nil:
		return nil, f.err
	}
	if err := f.take(c); err != nil {
		f.err = err
		if !f.ready {
			close(f.whole)
		}
		return nil, err
	}
	return nil, nil
}

func (f *follower) take(c chunk) error {
	state := f.res.trainer.State()
	sums, _ := f.res.trainer.Sums() // Nothing is computed here meanwhile.
	switch c.kind {
	case chunkOpen:
		if f.ready {
			return fmt.Errorf("%w: it began anew", errNotFollowed)
		}
		f.steps = c.step
		return nil
	case chunkSums:
		return c.write(rawbytes.Of(sums))
	case chunkExps:
		return c.write(rawbytes.Of(f.res.sums.exps))
	case chunkNeeded:
		return c.write(rawbytes.Of(f.res.sums.needed))
	case chunkApply:
		return f.apply(c, sums)
	case chunkParams, chunkM, chunkV, chunkEMA:
		return f.res.put(c)
	case chunkGrid:
		return c.write(rawbytes.Of(state.Exponents))
	case chunkWhole:
		return f.complete(c)
	}
	panic("unreachable: unknown kind")
}

// apply applies the sums of a step to what was received so far.
func (f *follower) apply(c chunk, sums []int32) error {
	var m mark
	if err := wire.Decode(c.data, &m); err != nil {
		return err
	}
	if c.step == f.steps {
		return nil // A repeat, whose answer was lost.
	}
	if c.step != f.steps+1 {
		return fmt.Errorf("%w: sums of step %d after step %d", errNotFollowed, c.step, f.steps)
	}
	needed, t := f.res.sums.needed, f.res.trainer
	skip := fixedpoint.FirstNonFinite(needed) >= 0
	t.State().Updates = m.Updates
	if !skip {
		t.State().Updates-- // Apply makes it.
	}
	t.Adopt(f.res.sums.exps)
	t.Apply(f.steps, sums, needed, skip)
	f.steps++
	if f.ready {
		return f.check(m)
	}
	return nil
}

// complete notes that all of the state is there.
func (f *follower) complete(c chunk) error {
	var m mark
	if err := wire.Decode(c.data, &m); err != nil {
		return err
	}
	if f.ready {
		return nil // A repeat.
	}
	if c.step != f.steps {
		return fmt.Errorf("%w: the state of step %d is complete at step %d", errNotFollowed, c.step, f.steps)
	}
	f.res.trainer.State().Updates = m.Updates
	if err := f.check(m); err != nil {
		return err
	}
	f.ready = true
	close(f.whole)
	return nil
}

func (f *follower) check(m mark) error {
	if f.now = f.res.trainer.Digest(); f.now.String() != m.Replica {
		return fmt.Errorf("%w: the state of step %d has digest %s here, %s where it came from", errNotFollowed, f.steps, f.now, m.Replica)
	}
	return nil
}
