package bus

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"
)

// logLines counts lines.
type logLines struct {
	mu    sync.Mutex
	lines []string
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, string(p))
	return len(p), nil
}

func (l *logLines) with(text string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// TestFloodIsBounded: while a handler is held up, a hundred times more messages arrive than may
// wait. No more than that wait, it is said once, and afterwards the handler is reached again.
func TestFloodIsBounded(t *testing.T) {
	log := &logLines{}
	b, err := Start(Config{NodeName: "n", RunID: "r", RouteListen: "127.0.0.1:0", Log: zerolog.New(log).Level(zerolog.InfoLevel)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	release := make(chan struct{})
	h, err := Handle(b.Conn(), "s", 1, func(ctx context.Context, data []byte) ([]byte, error) {
		select {
		case <-release:
		case <-ctx.Done():
		}
		return data, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.Close)
	flooder, err := b.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer flooder.Close()
	for round := range 3 {
		for range 100 * maxWaiting {
			if err := flooder.Publish("s", []byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		if err := flooder.FlushTimeout(20 * time.Second); err != nil {
			t.Fatal(err)
		}
		if n, bytes, err := h.sub.Pending(); err != nil || n > maxWaiting || bytes > maxWaitingBytes {
			t.Errorf("round %d: %d messages of %d bytes wait, error %v; at most %d and %d may", round, n, bytes, err, maxWaiting, maxWaitingBytes)
		}
	}
	close(release)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for { // Until a request finds room.
		attempt, end := context.WithTimeout(ctx, time.Second)
		got, err := Call(attempt, flooder, "s", []byte("after"))
		end()
		if err == nil && string(got) == "after" {
			break
		}
		if ctx.Err() != nil {
			t.Fatalf("the handler is not reached after the flood: %v", err)
		}
	}
	if n := log.with("slow consumer"); n != 1 {
		t.Errorf("%d lines about the flood, want 1", n)
	}
}

func TestSourceOf(t *testing.T) {
	for format, want := range map[string]string{
		"10.0.0.7:41234 - rid:12 - TLS route handshake error: %v": "10.0.0.7 - TLS route handshake error: %v",
		"[::1]:4 - rid:9 - closed":                                "::1 - closed",
		"Error trying to connect to route (attempt %v): %v":       "Error trying to connect to route (attempt %v): %v",
	} {
		if got := sourceOf(format); got != want {
			t.Errorf("source of %q is %q, want %q", format, got, want)
		}
	}
}
