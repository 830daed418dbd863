package bus

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// ErrNoResponders means that nobody handles the subject at this moment: the peer is gone, or its
// subscription has not arrived here yet (CallReady waits for that).
var ErrNoResponders = errors.New("nobody handles this subject")

// RemoteError is an error that the handler at the other side returned.
type RemoteError struct {
	Subject string
	Text    string
	Code    string // What the handler's error gave by a method Code() string, or "".
}

func (e *RemoteError) Error() string { return e.Text }

const (
	headerError   = "Yohaku-Error"
	headerCode    = "Yohaku-Error-Code"
	maxErrorText  = 2048
	readyInterval = 20 * time.Millisecond

	// What waits for a handler; more is dropped, and its sender asks again: a flood takes no memory.
	maxWaiting      = 1024
	maxWaitingBytes = 64 << 20
)

// Call sends data to subject and returns the handler's reply. It returns *RemoteError for an error
// the handler returned, ErrNoResponders when there is no handler, and ctx's error; ctx should have
// a deadline, since a peer may die with the request in hand. The reply is the caller's to keep.
func Call(ctx context.Context, conn *nats.Conn, subject string, data []byte) ([]byte, error) {
	msg, err := conn.RequestMsgWithContext(ctx, &nats.Msg{Subject: subject, Data: data})
	if errors.Is(err, nats.ErrNoResponders) {
		return nil, fmt.Errorf("call %s: %w", subject, ErrNoResponders)
	}
	if err != nil {
		return nil, fmt.Errorf("call %s: %w", subject, err)
	}
	if text := msg.Header.Get(headerError); text != "" {
		return nil, &RemoteError{Subject: subject, Text: text, Code: msg.Header.Get(headerCode)}
	}
	return msg.Data, nil
}

// CallReady is Call that tries again, every 20 ms until ctx ends, while there is no handler: for
// the first call after a route came up.
func CallReady(ctx context.Context, conn *nats.Conn, subject string, data []byte) ([]byte, error) {
	for {
		reply, err := Call(ctx, conn, subject, data)
		if !errors.Is(err, ErrNoResponders) {
			return reply, err
		}
		timer := time.NewTimer(readyInterval)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, err
		case <-timer.C:
		}
	}
}

// Handler serves a subject until Close.
type Handler struct {
	sub    *nats.Subscription
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	closed bool
}

// Handle answers each request on subject with what fn returns, running at most parallel at a time;
// further requests wait in order. An error's text goes to the caller as *RemoteError. The data
// is fn's to keep; ctx ends with Close.
func Handle(conn *nats.Conn, subject string, parallel int, fn func(ctx context.Context, data []byte) ([]byte, error)) (*Handler, error) {
	ctx, cancel := context.WithCancel(context.Background())
	h := &Handler{cancel: cancel}
	slots := make(chan struct{}, max(parallel, 1))
	sub, err := conn.Subscribe(subject, func(m *nats.Msg) {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		if !h.begin() {
			return
		}
		go func() {
			defer func() { <-slots; h.wg.Done() }()
			data, err := fn(ctx, m.Data)
			reply(m, data, err)
		}()
	})
	if err != nil {
		cancel()
		return nil, fmt.Errorf("handle %s: %w", subject, err)
	}
	h.sub = sub
	if err := sub.SetPendingLimits(maxWaiting, maxWaitingBytes); err != nil {
		h.Close()
		return nil, fmt.Errorf("handle %s: %w", subject, err)
	}
	if err := conn.FlushTimeout(connectTimeout); err != nil { // The server knows the subject from here on.
		h.Close()
		return nil, fmt.Errorf("handle %s: %w", subject, err)
	}
	return h, nil
}

func (h *Handler) begin() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return false
	}
	h.wg.Add(1)
	return true
}

// Close stops taking requests, cancels the running ones and waits for them.
func (h *Handler) Close() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.cancel()
	_ = h.sub.Unsubscribe() // It fails only when the connection is closed, which is as good.
	h.wg.Wait()
}

// reply answers m. A reply that cannot be sent is the caller's timeout: nothing is left to do here.
func reply(m *nats.Msg, data []byte, err error) {
	if m.Reply == "" {
		return
	}
	out := &nats.Msg{Data: data}
	if err != nil {
		text := err.Error()
		out = &nats.Msg{Header: nats.Header{headerError: {cleanHeader(text)}}}
		var coded interface{ Code() string }
		if errors.As(err, &coded) {
			out.Header.Set(headerCode, cleanHeader(coded.Code()))
		}
	}
	_ = m.RespondMsg(out)
}

// cleanHeader makes text fit a header line: bounded, on one line, not empty.
func cleanHeader(s string) string {
	b := make([]byte, 0, min(len(s), maxErrorText))
	for i := 0; i < len(s) && len(b) < maxErrorText; i++ {
		if c := s[i]; c == '\r' || c == '\n' {
			b = append(b, ' ')
		} else {
			b = append(b, c)
		}
	}
	if len(b) == 0 {
		return "error"
	}
	return string(b)
}

func hostPort(ip string, port int) string { return net.JoinHostPort(ip, strconv.Itoa(port)) }
