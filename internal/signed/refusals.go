package signed

import (
	"errors"
	"time"

	"yohaku/internal/throttle"
	"yohaku/internal/trust"
)

// Report hears of refused messages: count of them since the last report of the same source and
// reason, the last of them with err. From is "" where the sender is not proven.
type Report func(subject, from string, count int, err error)

// Refusals counts refused messages, and reports them at most once per source, reason and minute.
type Refusals struct {
	report Report
	now    func() time.Time

	lines throttle.Throttle[refusal]
}

type refusal struct {
	from string
	kind error
}

func newRefusals(report Report, now func() time.Time) *Refusals {
	if report == nil {
		report = func(string, string, int, error) {}
	}
	return &Refusals{report: report, now: now}
}

// Note counts a refused message on subject, and reports it if it is time.
func (r *Refusals) Note(subject, from string, err error) {
	if count := r.lines.Count(refusal{from, kindOf(err)}, r.now()); count > 0 {
		r.report(subject, from, count, err)
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
