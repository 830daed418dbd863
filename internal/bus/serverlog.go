package bus

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

const repeatWindow = 10 * time.Second

// healthy begin warnings that a healthy run causes, which are debug lines: the client password is
// drawn anew by each process and kept nowhere, and a peer that ends is dialled once or twice more.
// A peer that stays away is told by later attempts, and by the membership.
var healthy = []string{"Plaintext passwords detected", "Error trying to connect to route (attempt 1)"}

// serverLog takes nats-server's own log lines. Notices are debug lines here; warnings and errors
// are warnings, one per kind of message in each window, since unreachable peers are dialled for
// ever. Every line may mean a change of peers, so each nudges the watcher.
type serverLog struct {
	log   zerolog.Logger
	nudge func()
	fatal chan string // The first one; nats-server goes on after it, and Start gives up.

	mu   sync.Mutex
	last map[string]time.Time // Format string → last warning; bounded by the formats in nats-server.
}

func newServerLog(log zerolog.Logger) *serverLog {
	return &serverLog{log: log, nudge: func() {}, fatal: make(chan string, 1), last: map[string]time.Time{}}
}

func (l *serverLog) Noticef(format string, v ...any) {
	if e := l.log.Debug(); e.Enabled() {
		e.Str(zerolog.ErrorFieldName, oneLine(format, v)).Msg("NATS server notice")
	}
	l.nudge()
}

func (l *serverLog) Warnf(format string, v ...any)  { l.warn(format, v) }
func (l *serverLog) Errorf(format string, v ...any) { l.warn(format, v) }

func (l *serverLog) Fatalf(format string, v ...any) {
	text := oneLine(format, v)
	select {
	case l.fatal <- text:
	default:
		l.log.Error().Err(errors.New(text)).Msg("NATS server failed")
	}
}

func (l *serverLog) Debugf(string, ...any) {}
func (l *serverLog) Tracef(string, ...any) {}

func (l *serverLog) warn(format string, v []any) {
	text := oneLine(format, v)
	event := l.log.Warn
	if slices.ContainsFunc(healthy, func(h string) bool { return strings.HasPrefix(text, h) }) || l.repeated(format) {
		event = l.log.Debug
	}
	if e := event(); e.Enabled() {
		e.Str(zerolog.ErrorFieldName, text).Msg("NATS server warning")
	}
	l.nudge()
}

func (l *serverLog) repeated(format string) bool {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if t, ok := l.last[format]; ok && now.Sub(t) < repeatWindow {
		return true
	}
	l.last[format] = now
	return false
}

func oneLine(format string, v []any) string {
	return strings.Join(strings.Fields(fmt.Sprintf(format, v...)), " ")
}
