package worker

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"yohaku/internal/bus"
	"yohaku/internal/logkey"
	"yohaku/internal/rawbytes"
	"yohaku/internal/wire"
)

// Bounds of what a rank does for one that joins.
const (
	feedWindow  = 4                // Chunks on their way at a time.
	feedAtLeast = 16 << 20         // Bytes of the state that go at each step boundary, however short the step.
	feedTimeout = 5 * time.Second  // For the answer to one chunk.
	feedPause   = 30 * time.Second // How long the ring waits for one that joins, at a step boundary.
	feedRemark  = 100 * time.Millisecond
)

// follow is what a worker that joins asks of a rank, again and again: to be fed.
type follow struct {
	Node   string `json:"node"`
	Stream uint64 `json:"stream"`
}

// wanted are the streams that others want of this worker.
type wanted struct {
	mu      sync.Mutex
	streams []follow
}

// maxWanted bounds them.
const maxWanted = 16

// handle takes a wish, once.
func (w *wanted) handle(_ context.Context, data []byte) ([]byte, error) {
	var f follow
	if err := wire.Decode(data, &f); err != nil {
		return nil, err
	}
	if !wire.ValidToken(f.Node) {
		return nil, fmt.Errorf("%w: node %q", wire.ErrMessage, f.Node)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.streams = slices.DeleteFunc(w.streams, func(other follow) bool { return other.Node == f.Node && other.Stream < f.Stream })
	if len(w.streams) >= maxWanted || slices.ContainsFunc(w.streams, func(other follow) bool { return other.Node == f.Node }) {
		return nil, nil
	}
	w.streams = append(w.streams, f)
	return nil, nil
}

func (w *wanted) all() []follow {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.streams)
}

func (w *wanted) drop(f follow) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.streams = slices.DeleteFunc(w.streams, func(other follow) bool { return other == f })
}

// feed streams a rank's state to a worker that joins, while the ring goes on: between a step
// boundary and the next update the state stands still, and so do the complete sums until the next
// ones. So at each boundary first the sums of the step go, for what was sent before, and then
// more of the state; both are read where they lie.
type feed struct {
	follow
	r     *rank
	ctx   context.Context
	end   context.CancelFunc
	at    int  // The step of the boundary.
	begun bool // Something of the state was sent.
	whole bool // All of it was.
	next  int  // The span of the state to send next.

	sent chan struct{} // Closed when the sums may be overwritten.
	stop chan struct{} // Closed when the state is about to change.
	over chan struct{} // Closed when nothing is read any more.
	err  error         // Why it was given up; read after over.
}

// boundary begins to send what a step boundary gives, to all that follow.
func (r *rank) boundary(step int) {
	for _, f := range r.w.wanted.all() {
		if !slices.ContainsFunc(r.feeds, func(other *feed) bool { return other.follow == f }) {
			ctx, end := context.WithCancel(r.w.life)
			r.feeds = append(r.feeds, &feed{follow: f, r: r, ctx: ctx, end: end})
		}
	}
	state := r.res.trainer.State()
	for _, f := range r.feeds {
		f.at = step
		f.sent, f.stop, f.over = make(chan struct{}), make(chan struct{}), make(chan struct{})
		go f.run(mark{Updates: state.Updates, Replica: r.res.replica.String()}, rawbytes.Of(slices.Clone(state.Exponents)))
	}
}

// run sends. The sums are those of the step before the boundary.
func (f *feed) run(m mark, grid []byte) {
	defer close(f.over)
	f.err = f.sums(m)
	close(f.sent)
	if f.err == nil {
		f.err = f.state(m, grid)
	}
}

func (f *feed) sums(m mark) error {
	if !f.begun {
		return f.send(chunkOpen, 0, nil)
	}
	s := &f.r.res.sums
	for _, part := range []struct {
		kind chunkKind
		data []byte
	}{{chunkSums, rawbytes.Of(s.sums)}, {chunkExps, rawbytes.Of(s.exps)}, {chunkNeeded, rawbytes.Of(s.needed)}} {
		if err := f.vector(part.kind, part.data); err != nil {
			return err
		}
	}
	return f.send(chunkApply, 0, wire.Encode(m))
}

// state sends of the state what the time allows. Parameters and moments of an element go at the same
// boundary, since the next update takes them all.
func (f *feed) state(m mark, grid []byte) error {
	if f.whole {
		return nil
	}
	f.begun = true
	spans := f.r.res.spans
	for sent := 0; f.next < len(spans); f.next++ {
		select {
		case <-f.stop:
			if sent >= feedAtLeast {
				return nil
			}
		default:
		}
		if err := f.span(spans[f.next]); err != nil {
			return err
		}
		sent += 3 * spans[f.next].len
	}
	if err := f.vector(chunkGrid, grid); err != nil {
		return err
	}
	f.whole = true
	return f.send(chunkWhole, 0, wire.Encode(m))
}

// span sends parameters and moments of some elements.
func (f *feed) span(s span) error {
	var all errgroup.Group
	for kind, data := range f.r.res.at(s) {
		all.Go(func() error { return f.send(kind, s.offset, data) })
	}
	return all.Wait()
}

// vector sends data in chunks.
func (f *feed) vector(kind chunkKind, data []byte) error {
	var window errgroup.Group
	window.SetLimit(feedWindow)
	for lo := 0; lo < len(data); lo += chunkBytes {
		hi := min(lo+chunkBytes, len(data))
		window.Go(func() error { return f.send(kind, lo, data[lo:hi]) })
	}
	return window.Wait()
}

// send sends a chunk and waits for its answer. Who follows has no other reason not to answer than
// that it is gone, but at the beginning, when its subject may not be known here yet.
func (f *feed) send(kind chunkKind, offset int, data []byte) error {
	ctx, cancel := context.WithTimeout(f.ctx, feedTimeout)
	defer cancel()
	subject := f.r.w.loyal.subjects().Follower(f.Node)
	call := bus.Call
	if kind == chunkOpen {
		call = bus.CallReady
	}
	_, err := call(ctx, f.r.w.bus.Conn(), subject, chunk{kind, f.Stream, f.at, offset, data}.encode())
	return err
}

// sumsRead waits until the complete sums may be overwritten.
func (r *rank) sumsRead() { r.hold("sums", func(f *feed) <-chan struct{} { return f.sent }) }

// stateRead waits until the state may change.
func (r *rank) stateRead() {
	for _, f := range r.feeds {
		close(f.stop)
	}
	r.hold("state", func(f *feed) <-chan struct{} { return f.over })
	r.feeds = slices.DeleteFunc(r.feeds, func(f *feed) bool {
		if f.err != nil {
			r.giveUp(f)
		}
		return f.err != nil
	})
}

// hold has the ring wait for those that it feeds, for a bounded time.
func (r *rank) hold(what string, done func(*feed) <-chan struct{}) {
	if len(r.feeds) == 0 {
		return
	}
	begun := time.Now()
	late := time.AfterFunc(feedPause, func() {
		for _, f := range r.feeds {
			f.end()
		}
	})
	defer late.Stop()
	for _, f := range r.feeds {
		<-done(f)
	}
	if d := time.Since(begun); d > feedRemark {
		r.log.Info().Dur(logkey.DurationMS, d).Str("part", what).Msg("ring stood still for a worker that joins")
	}
}

func (r *rank) giveUp(f *feed) {
	f.end()
	r.w.wanted.drop(f.follow)
	r.log.Warn().Str(logkey.Peer, f.Node).Err(f.err).Msg("worker that joins is not fed any more; it gets the state at a step boundary")
}

// endFeeds ends the streams with the generation. After an orderly end who follows is where the rings
// stands: the sums of the last step were read.
func (r *rank) endFeeds(orderly bool) {
	if orderly {
		r.sumsRead()
	}
	for _, f := range r.feeds {
		f.end()
		<-f.over
		r.w.wanted.drop(f.follow)
	}
	r.feeds = nil
}
