// Package throttle keeps what repeats from filling a log: one line of a kind in each minute, with the count of those that
// were held back. Its memory is bounded, whoever makes the kinds up.
package throttle

import (
	"sync"
	"time"
)

const (
	window = time.Minute
	most   = 1024 // Kinds told apart; further ones count together.
)

// Throttle counts lines by their kind, such as a source and a reason. The zero value is ready; it is safe for concurrent
// use.
type Throttle[K comparable] struct {
	mu    sync.Mutex
	kinds map[K]*held
}

type held struct {
	count int
	next  time.Time
}

// Count notes a line of the kind, and returns how many there were since the last one that was let through, or 0 if this
// one is not.
func (t *Throttle[K]) Count(kind K, now time.Time) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.find(kind, now)
	k.count++
	if now.Before(k.next) {
		return 0
	}
	n := k.count
	k.count, k.next = 0, now.Add(window)
	return n
}

// find returns the kind's count, or the common one when there are too many.
func (t *Throttle[K]) find(kind K, now time.Time) *held {
	if t.kinds == nil {
		t.kinds = map[K]*held{}
	}
	if k, ok := t.kinds[kind]; ok {
		return k
	}
	if len(t.kinds) >= most {
		t.forget(now)
	}
	if len(t.kinds) >= most {
		var common K
		kind = common
	}
	k, ok := t.kinds[kind]
	if !ok {
		k = &held{}
		t.kinds[kind] = k
	}
	return k
}

// forget drops the kinds that have been quiet for a window.
func (t *Throttle[K]) forget(now time.Time) {
	for kind, k := range t.kinds {
		if !now.Before(k.next) {
			delete(t.kinds, kind)
		}
	}
}
