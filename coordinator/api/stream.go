package api

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

const (
	// maxKept bounds the messages that a client which comes late, or back, is given, and maxKeptBytes their size.
	maxKept      = 4096
	maxKeptBytes = 4 << 20
	// maxStreams bounds the clients that follow at once.
	maxStreams = 400
	// pulse is how often a quiet stream says that it lives.
	pulse = 15 * time.Second
	// sendTimeout ends the stream of a client that does not read.
	sendTimeout = 10 * time.Second
)

// message is one server-sent event.
type message struct {
	id   uint64
	name string
	data []byte
}

// Stream passes what happens in a run on to all who follow it at GET /api/v1/stream, as server-sent
// events (https://html.spec.whatwg.org/multipage/server-sent-events.html). Publishing never waits for
// a client: one that is too slow is told to load anew. The zero value is ready.
type Stream struct {
	mu      sync.Mutex
	kept    []message // The last ones, oldest first; ids have no gaps.
	bytes   int       // Of the kept ones.
	last    uint64    // Id of the last message, from 1.
	news    chan struct{}
	clients int
}

// Publish sends v as JSON to all who follow. It panics when v has no JSON, a programming error.
func (s *Stream) Publish(name string, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("publish %s: %v", name, err))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	for len(s.kept) == maxKept || len(s.kept) > 0 && s.bytes+len(data) > maxKeptBytes {
		s.forget((len(s.kept) + 1) / 2)
	}
	s.kept, s.bytes = append(s.kept, message{s.last, name, data}), s.bytes+len(data)
	if s.news != nil {
		close(s.news)
		s.news = nil
	}
}

// forget drops the n oldest messages.
func (s *Stream) forget(n int) {
	for _, m := range s.kept[:n] {
		s.bytes -= len(m.data)
	}
	s.kept = slices.Clone(s.kept[n:]) // Others read the old ones.
}

// after returns the messages after id, whether some between are gone, and what is closed with the next one.
func (s *Stream) after(id uint64) (fresh []message, gap bool, news <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.news == nil {
		s.news = make(chan struct{})
	}
	first := s.last - uint64(len(s.kept)) // The id before the oldest kept.
	if id > s.last || id < first {
		return nil, true, s.news
	}
	return s.kept[id-first:], false, s.news
}

// now is the id of the last message.
func (s *Stream) now() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// enter counts a client in, unless there are too many.
func (s *Stream) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.clients == maxStreams {
		return false
	}
	s.clients++
	return true
}

func (s *Stream) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clients--
}

// serve follows the stream from the request's Last-Event-ID on, or from now. The event "reload"
// says that messages were missed. It ends when the client goes, or, with the event "end", when closing is closed.
func (s *Stream) serve(w http.ResponseWriter, r *http.Request, closing <-chan struct{}) {
	if !s.enter() {
		w.Header().Set("Retry-After", "5")
		problem(w, http.StatusServiceUnavailable, fmt.Sprintf("%d clients follow the run already", maxStreams))
		return
	}
	defer s.leave()
	at := s.now()
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		at, _ = strconv.ParseUint(last, 10, 64) // What is no number is 0, long gone.
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	ticker := time.NewTicker(pulse)
	defer ticker.Stop()
	text := []byte("retry: 1000\n\n")
	for {
		fresh, gap, news := s.after(at)
		if gap {
			at = s.now()
			text = fmt.Appendf(text, "id: %d\nevent: reload\ndata: {}\n\n", at)
		}
		for _, m := range fresh {
			text, at = fmt.Appendf(text, "id: %d\nevent: %s\ndata: %s\n\n", m.id, m.name, m.data), m.id
		}
		if err := send(w, text); err != nil {
			return
		}
		text = text[:0]
		select {
		case <-news:
		case <-ticker.C:
			text = append(text, ":\n\n"...)
		case <-r.Context().Done():
			return
		case <-closing:
			_ = send(w, []byte("event: end\ndata: {}\n\n")) // A client that went away need not know.
			return
		}
	}
}

// send writes and flushes under a deadline.
func send(w http.ResponseWriter, text []byte) error {
	c := http.NewResponseController(w)
	if err := c.SetWriteDeadline(time.Now().Add(sendTimeout)); err != nil {
		return err
	}
	if _, err := w.Write(text); err != nil {
		return err
	}
	return c.Flush()
}
