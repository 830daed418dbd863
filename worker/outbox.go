package worker

import (
	"context"
	"errors"
	"os"
	"slices"
	"sync"
	"time"

	"yohaku/internal/bus"
	"yohaku/internal/bus/blob"
	"yohaku/internal/logkey"
	"yohaku/internal/wire"
)

// outbox holds what rank 0 has to tell of training: committed steps and checkpoints, in order. The
// ring does not wait for it. A goroutine of the worker's delivers it, for as long as it takes.
//
// What is lost with the process is not lost to the run: all ranks keep a step's report until rank 0
// says that it was delivered, and whoever holds the state can make its checkpoint again.
type outbox struct {
	mu      sync.Mutex
	items   []item
	first   uint64        // Number of items[0]; they count from 0.
	changed chan struct{} // Closed and replaced at every change.
	stop    context.CancelFunc
	refused error // Why the coordinator did not take something, until somebody was told.
}

// item is one of a committed step and a checkpoint, whose files lie on disk.
type item struct {
	step  *wire.StepReport
	state *wire.TrainState
	files []string
}

func newOutbox() *outbox { return &outbox{changed: make(chan struct{}), stop: func() {}} }

func (b *outbox) change() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// post adds an item, but no checkpoint twice. It returns the error of an earlier one that the
// coordinator refused.
func (b *outbox) post(i item) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	twice := i.state != nil && slices.ContainsFunc(b.items, func(o item) bool { return o.state != nil && o.state.Step == i.state.Step })
	if !twice {
		b.items = append(b.items, i)
		b.change()
	}
	return b.toldRefusal()
}

func (b *outbox) toldRefusal() error {
	err := b.refused
	b.refused = nil
	return err
}

// delivered is the last step that is, of those up to last.
func (b *outbox) delivered(last int) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, i := range b.items {
		if i.step != nil {
			return min(last, i.step.Step-1)
		}
	}
	return last
}

// left counts what waits.
func (b *outbox) left() (steps, checkpoints int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, i := range b.items {
		if i.step != nil {
			steps++
		} else {
			checkpoints++
		}
	}
	return steps, checkpoints
}

// next is what to deliver next: steps, or one checkpoint. It waits until there is something.
func (b *outbox) next(ctx context.Context) (first uint64, batch []item) {
	for {
		b.mu.Lock()
		first, batch, changed := b.first, b.batch(), b.changed
		b.mu.Unlock()
		if len(batch) > 0 {
			return first, batch
		}
		select {
		case <-ctx.Done():
			return 0, nil
		case <-changed:
		}
	}
}

func (b *outbox) batch() []item {
	size := 0
	for n, i := range b.items {
		if i.step == nil {
			return b.items[:max(n, 1):max(n, 1)]
		}
		if size += len(wire.Encode(i.step)); size > maxReportBytes && n > 0 {
			return b.items[:n:n]
		}
	}
	return b.items[:len(b.items):len(b.items)]
}

// drop forgets the items from first on, unless they were cleared meanwhile. Err says that they were
// refused.
func (b *outbox) drop(first uint64, n int, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refused = errors.Join(b.refused, err)
	if b.first != first {
		return
	}
	b.items, b.first = b.items[n:], b.first+uint64(n)
	b.change()
}

// clear forgets everything, and returns the files of checkpoints.
func (b *outbox) clear() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var files []string
	for _, i := range b.items {
		files = append(files, i.files...)
	}
	b.first += uint64(len(b.items)) + 1
	b.items = nil
	b.change()
	return files
}

// retry begins a delivery that is under way again: it may go to a coordinator that is no more.
func (b *outbox) retry() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stop()
}

// flush waits until everything is delivered, or ctx ends. It returns an error when something was
// refused.
func (b *outbox) flush(ctx context.Context) error {
	for {
		b.mu.Lock()
		empty, changed := len(b.items) == 0, b.changed
		if empty {
			defer b.mu.Unlock()
			return b.toldRefusal()
		}
		b.mu.Unlock()
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

// deliverAll delivers until the worker leaves.
func (w *Worker) deliverAll() {
	b := w.outbox
	for {
		first, batch := b.next(w.life)
		if batch == nil {
			return
		}
		ctx, cancel := context.WithCancel(w.life)
		b.mu.Lock()
		b.stop = cancel
		b.mu.Unlock()
		err := w.deliverBatch(ctx, batch)
		cancel()
		if err == nil || !passing(err) {
			b.drop(first, len(batch), err)
			continue
		}
		w.log.Debug().Err(err).Msg("not delivered yet")
		select {
		case <-w.life.Done():
			return
		case <-time.After(attemptPause):
		}
	}
}

// passing tells whether a delivery that failed may go well later.
func passing(err error) bool {
	var said *bus.RemoteError
	if errors.As(err, &said) {
		return said.Code == wire.CodeUnknownNode
	}
	return blob.Passing(err)
}

func (w *Worker) deliverBatch(ctx context.Context, batch []item) error {
	if batch[0].step != nil {
		steps := make([]wire.StepReport, len(batch))
		for i, s := range batch {
			steps[i] = *s.step
		}
		return w.report(ctx, wire.Report{Steps: steps})
	}
	kept := batch[0]
	start := time.Now()
	for _, file := range kept.files {
		if _, err := blob.PutFile(ctx, w.bus.Conn(), w.loyal.subjects().Blobs(), file); err != nil {
			return err
		}
	}
	if err := w.report(ctx, wire.Report{Checkpoint: kept.state}); err != nil {
		return err
	}
	w.log.Debug().Int(logkey.Step, kept.state.Step).Dur(logkey.DurationMS, time.Since(start)).Msg("checkpoint delivered")
	return removeAll(kept.files)
}

func removeAll(files []string) error {
	var errs []error
	for _, f := range files {
		if err := os.Remove(f); !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// maxReportBytes bounds the steps of one report.
const maxReportBytes = wire.MaxMessageBytes / 2

// tellHeld reports the steps in memory after the given one, which may not be committed, before the
// word on what else this worker holds.
func (w *Worker) tellHeld(ctx context.Context, after int) error {
	if w.resident == nil {
		return nil
	}
	steps := w.resident.after(after)
	for len(steps) > 0 {
		n, size := 0, 0
		for n < len(steps) && (n == 0 || size < maxReportBytes) {
			size += len(wire.Encode(steps[n]))
			n++
		}
		if err := w.report(ctx, wire.Report{Held: steps[:n]}); err != nil {
			return err
		}
		steps = steps[n:]
	}
	return nil
}

// report sends r to the coordinator and waits until it is kept. A question or an answer is lost with
// its route, so the coordinator may get it twice; while there is none, it waits for one.
func (w *Worker) report(ctx context.Context, r wire.Report) error {
	r.Node = w.name
	_, err := w.call(ctx, wire.Subjects.Report, wire.Encode(r))
	var said *bus.RemoteError
	if errors.As(err, &said) && said.Code == wire.CodeUnknownNode {
		select {
		case w.again <- struct{}{}:
		default: // It is about to.
		}
	}
	return err
}

// call asks the coordinator that this worker belongs to, until it answers or ctx ends. It returns the
// one that answered.
func (w *Worker) call(ctx context.Context, subject func(wire.Subjects) string, data []byte) (coordinator string, err error) {
	for {
		s := w.loyal.subjects()
		attempt, cancel := context.WithTimeout(ctx, attemptTimeout)
		_, err := w.ask(attempt, s.Coordinator, subject(s), data)
		cancel()
		var said *bus.RemoteError
		if err == nil || errors.As(err, &said) && said.Code != wire.CodeLater {
			return s.Coordinator, err
		}
		select {
		case <-ctx.Done():
			return s.Coordinator, err
		case <-time.After(attemptPause):
		}
	}
}
