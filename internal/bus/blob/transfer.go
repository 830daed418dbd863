package blob

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"yohaku/internal/bus"
)

const (
	window       = 4                // Chunks in flight.
	chunkTimeout = 10 * time.Second // For one answer.
	maxFailures  = 8                // In a row, without a chunk of progress.
	firstPause   = 50 * time.Millisecond
	maxPause     = 2 * time.Second
)

// remote is a blob service as its clients see it.
type remote struct {
	conn   *nats.Conn
	prefix string
}

// call sends one request. Errors that the service returned match ErrNotFound or ErrDigest where
// they are that; errors of the transport satisfy transient.
func (r remote) call(ctx context.Context, subject string, req request, data []byte, timeout time.Duration) ([]byte, error) {
	msg, err := encode(req, data)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	reply, err := bus.Call(ctx, r.conn, r.prefix+subject, msg)
	var said *bus.RemoteError
	if errors.As(err, &said) {
		return nil, remoteError(said)
	}
	if err != nil {
		return nil, &transportError{err}
	}
	return reply, nil
}

func remoteError(said *bus.RemoteError) error {
	err := error(&serviceError{code: said.Code, text: clean(said.Text)})
	switch said.Code {
	case codeNotFound:
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	case codeDigest:
		return fmt.Errorf("%w: %w", ErrDigest, err)
	}
	return err
}

// serviceError is what the service said.
type serviceError struct{ code, text string }

func (e *serviceError) Error() string { return e.text }

// transportError means that no answer came: a timeout, or nobody there.
type transportError struct{ err error }

func (e *transportError) Error() string { return e.err.Error() }
func (e *transportError) Unwrap() error { return e.err }

// transient says whether going on later may help.
func transient(err error) bool {
	var t *transportError
	var s *serviceError
	return errors.As(err, &t) || errors.As(err, &s) && (s.code == codeUpload || s.code == codeBusy)
}

// Passing tells whether a transfer that failed with err may go well later: nobody answered, or it was
// given up. Otherwise the service, or a file, refused.
func Passing(err error) bool {
	return transient(err) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, bus.ErrNoResponders)
}

// persist runs attempt until it succeeds, fails for good, or fails maxFailures times in a row
// without progress, with growing pauses. Attempt reports how far it got, in bytes.
func persist(ctx context.Context, attempt func() (int64, error)) error {
	failures, best, pause := 0, int64(0), firstPause
	for {
		at, err := attempt()
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if !transient(err) {
			return err
		}
		if at > best {
			failures, best, pause = 0, at, firstPause
		}
		if failures++; failures >= maxFailures {
			return fmt.Errorf("no progress in %d attempts: %w", failures, err)
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		case <-timer.C:
		}
		pause = min(2*pause, maxPause)
	}
}

type fetched struct {
	data []byte
	err  error
}

// fetch asks for the chunks of ref from offset on, a window of them at a time, and hands them to
// sink in order. It returns the first error, after all requests have ended.
func (r remote) fetch(ctx context.Context, ref Ref, offset int64, sink func([]byte) error) error {
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	answers := make(chan chan fetched, window-1) // In order; its room, and the one being made, are the window.
	wg.Go(func() {
		defer close(answers)
		for off := offset; off < ref.Size; off += ChunkBytes {
			answer := make(chan fetched, 1)
			select {
			case answers <- answer:
			case <-ctx.Done():
				return
			}
			wg.Go(func() {
				data, err := r.chunk(ctx, ref, off)
				answer <- fetched{data, err}
			})
		}
	})
	for answer := range answers {
		got := <-answer
		if got.err != nil {
			return got.err
		}
		if err := sink(got.data); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (r remote) chunk(ctx context.Context, ref Ref, offset int64) ([]byte, error) {
	data, err := r.call(ctx, subjectGet, request{Ref: ref, Offset: offset}, nil, chunkTimeout)
	if err != nil {
		return nil, err
	}
	if want := chunkLen(ref, offset); len(data) != want {
		return nil, fmt.Errorf("chunk at %d of %v has %d bytes, it must have %d; the peer runs another version", offset, ref, len(data), want)
	}
	return data, nil
}
