package bus

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"yohaku/internal/throttle"

	"github.com/rs/zerolog"
)

// healthy begin warnings that a healthy run causes, which are debug lines: the client password is
// drawn anew by each process and kept nowhere, and a peer that ends is dialled once or twice more.
// A peer that stays away is told by later attempts, and by the membership.
var healthy = []string{"Plaintext passwords detected", "Error trying to connect to route (attempt 1)"}

// serverLog takes nats-server's own log lines. Notices are debug lines here; warnings and errors
// are warnings, one per source and kind of message in each minute, since unreachable peers are
// dialled for ever. Every line may mean a change of peers, so each nudges the watcher.
type serverLog struct {
	log   zerolog.Logger
	nudge func()
	fatal chan string // The first one; nats-server goes on after it, and Start gives up.

	warned throttle.Throttle[string]
}

func newServerLog(log zerolog.Logger) *serverLog {
	return &serverLog{log: log, nudge: func() {}, fatal: make(chan string, 1)}
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
		l.log.Debug().Err(errors.New(text)).Msg("NATS server failed again") // By the same fault: the first one is told.
	}
}

func (l *serverLog) Debugf(string, ...any) {}
func (l *serverLog) Tracef(string, ...any) {}

func (l *serverLog) warn(format string, v []any) {
	text := oneLine(format, v)
	event := l.log.Warn
	count := l.warned.Count(sourceOf(format), time.Now())
	if slices.ContainsFunc(healthy, func(h string) bool { return strings.HasPrefix(text, h) }) || count == 0 {
		event = l.log.Debug
	}
	if e := event(); e.Enabled() {
		if count > 1 {
			e = e.Int("count", count)
		}
		e.Str(zerolog.ErrorFieldName, text).Msg("NATS server warning")
	}
	l.nudge()
}

func oneLine(format string, v []any) string {
	return strings.Join(strings.Fields(fmt.Sprintf(format, v...)), " ")
}
