package signed

import (
	"errors"
	"sync"
	"time"

	"yohaku/internal/trust"
)

// Report hears of refused messages: count of them since the last report of the same source and
// reason, the last of them with err. From is "" where the sender is not proven.
type Report func(subject, from string, count int, err error)

const (
	refusalWindow = time.Minute
	// maxRefusals bounds the sources that are told apart; further ones count together.
	maxRefusals = 1024
)

// Refusals counts refused messages, and reports them at most once per source, reason and minute.
type Refusals struct {
	report Report
	now    func() time.Time

	mu      sync.Mutex
	sources map[refusal]*refusals
}

type refusal struct {
	from string
	kind error
}

type refusals struct {
	count int
	next  time.Time
}

func newRefusals(report Report, now func() time.Time) *Refusals {
	if report == nil {
		report = func(string, string, int, error) {}
	}
	return &Refusals{report: report, now: now, sources: map[refusal]*refusals{}}
}

// Note counts a refused message on subject, and reports it if it is time.
func (r *Refusals) Note(subject, from string, err error) {
	if count := r.count(refusal{from, kindOf(err)}); count > 0 {
		r.report(subject, from, count, err)
	}
}

func (r *Refusals) count(of refusal) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	s := r.sources[of]
	if s == nil && len(r.sources) >= maxRefusals {
		r.forget(now)
	}
	if s == nil && len(r.sources) >= maxRefusals {
		of = refusal{}
		s = r.sources[of]
	}
	if s == nil {
		s = &refusals{}
		r.sources[of] = s
	}
	s.count++
	if now.Before(s.next) {
		return 0
	}
	n := s.count
	s.count, s.next = 0, now.Add(refusalWindow)
	return n
}

// forget drops the sources that have been quiet for a window.
func (r *Refusals) forget(now time.Time) {
	for of, s := range r.sources {
		if !now.Before(s.next) {
			delete(r.sources, of)
		}
	}
}

func kindOf(err error) error {
	for _, kind := range []error{trust.ErrForged, trust.ErrReplayed, trust.ErrRevoked, trust.ErrEpoch} {
		if errors.Is(err, kind) {
			return kind
		}
	}
	return nil
}
