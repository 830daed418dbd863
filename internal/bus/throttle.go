package bus

import (
	"net"
	"strings"
	"sync"
	"time"
)

const (
	throttleWindow = time.Minute
	maxThrottled   = 1024 // Kinds of lines told apart; further ones count together.
)

// throttle lets one line of a kind through in each window. The zero value is ready; it is safe for
// concurrent use.
type throttle struct {
	mu    sync.Mutex
	kinds map[string]*throttled
}

type throttled struct {
	count int
	next  time.Time
}

// count notes a line of the kind, and returns how many there were since the last one that was let
// through, or 0 if this one is not.
func (t *throttle) count(kind string, now time.Time) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.kinds == nil {
		t.kinds = map[string]*throttled{}
	}
	k := t.kinds[kind]
	if k == nil && len(t.kinds) >= maxThrottled {
		t.forget(now)
	}
	if k == nil && len(t.kinds) >= maxThrottled {
		kind = ""
		k = t.kinds[kind]
	}
	if k == nil {
		k = &throttled{}
		t.kinds[kind] = k
	}
	k.count++
	if now.Before(k.next) {
		return 0
	}
	n := k.count
	k.count, k.next = 0, now.Add(throttleWindow)
	return n
}

// forget drops the kinds that have been quiet for a window.
func (t *throttle) forget(now time.Time) {
	for kind, k := range t.kinds {
		if !now.Before(k.next) {
			delete(t.kinds, kind)
		}
	}
}

// sourceOf makes one kind of what nats-server says of one source: its formats begin with the
// connection, such as "10.0.0.7:41234 - rid:12 - ", of which only the host stays.
func sourceOf(format string) string {
	conn, rest, ok := strings.Cut(format, " - ")
	if !ok {
		return format
	}
	host, _, err := net.SplitHostPort(conn)
	if err != nil {
		return format
	}
	if _, after, ok := strings.Cut(rest, " - "); ok {
		rest = after
	}
	return host + " - " + rest
}
