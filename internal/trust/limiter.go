package trust

import (
	"net/netip"
	"time"
)

const (
	limitWindow  = time.Minute
	maxFailures  = 20 // Of one source in one window; more are refused unheard.
	maxSources   = 4096
	reportWindow = time.Minute
)

// limiter counts the conversations and failures of each source. Its owner holds a lock around it.
type limiter struct {
	now     func() time.Time
	sources map[netip.Addr]*sourceCount
}

type sourceCount struct {
	open       int // Conversations under way.
	failures   int // In the current window.
	windowEnds time.Time
	unreported int
	reportNext time.Time
}

func newLimiter(now func() time.Time) *limiter {
	return &limiter{now: now, sources: map[netip.Addr]*sourceCount{}}
}

// begin says whether a new conversation with source may start, and counts it if so.
func (l *limiter) begin(source netip.Addr) bool {
	now := l.now()
	c := l.sources[source]
	if c == nil {
		if len(l.sources) >= maxSources && !l.forget(now) {
			return false
		}
		c = &sourceCount{}
		l.sources[source] = c
	}
	if !now.Before(c.windowEnds) {
		c.failures, c.windowEnds = 0, now.Add(limitWindow)
	}
	if c.open >= maxPerSource || c.failures >= maxFailures {
		return false
	}
	c.open++
	return true
}

// end closes a conversation that begin admitted. It returns the number of failures to report now,
// 0 when there is nothing to report yet.
func (l *limiter) end(source netip.Addr, failed bool) int {
	c := l.sources[source]
	c.open--
	if !failed {
		return 0
	}
	c.failures++
	c.unreported++
	now := l.now()
	if now.Before(c.reportNext) {
		return 0
	}
	n := c.unreported
	c.unreported, c.reportNext = 0, now.Add(reportWindow)
	return n
}

// forget drops sources that have been quiet for a window, and says whether there is room now.
func (l *limiter) forget(now time.Time) bool {
	for a, c := range l.sources {
		if c.open == 0 && !now.Before(c.windowEnds) {
			delete(l.sources, a)
		}
	}
	return len(l.sources) < maxSources
}
