package coordinator

import (
	"fmt"
	"io"
	"strings"
	"time"

	"yohaku/internal/wire"
)

// progress draws one line on a terminal: the phase, how far it is, the step's figures and the
// time left. Without a terminal it does nothing.
type progress struct {
	out   io.Writer
	name  string
	total int
	done  int
	first int // Done when the phase began here, for the time left.
	began time.Time
	last  wire.StepReport
}

func newProgress(out io.Writer, steps int) *progress { return &progress{out: out, total: steps} }

// phase begins a phase of total parts.
func (p *progress) phase(name string, total int) {
	if p.out != nil && p.done > 0 {
		_, _ = fmt.Fprintln(p.out) // The finished bar stays. As below.
	}
	p.name, p.total, p.done, p.first, p.began, p.last = name, total, 0, 0, time.Now(), wire.StepReport{}
}

// at shows that done parts are done.
func (p *progress) at(done int) {
	p.done = done
	p.draw()
}

// step shows a committed training step.
func (p *progress) step(s wire.StepReport) {
	if p.last.Step == 0 {
		p.first, p.began = s.Step-1, time.Now().Add(-time.Duration(s.DurationMS*float64(time.Millisecond)))
	}
	p.last, p.done = s, s.Step
	p.draw()
}

// barWidth is the number of cells of the bar.
const barWidth = 24

func (p *progress) draw() {
	if p.out == nil || p.total == 0 {
		return
	}
	full := barWidth * p.done / p.total
	line := fmt.Sprintf("%s %s%s %d/%d", p.name, strings.Repeat("█", full), strings.Repeat("░", barWidth-full), p.done, p.total)
	if s := p.last; s.Step > 0 {
		line += fmt.Sprintf("  loss %.4f  margin %+.5f  %.1f items/s", s.Loss, s.LogOdds, s.ItemsPerSecond)
	}
	if n := p.done - p.first; n > 0 && p.done < p.total {
		left := time.Since(p.began) / time.Duration(n) * time.Duration(p.total-p.done)
		line += "  " + left.Round(time.Second).String() + " left"
	}
	_, _ = fmt.Fprintf(p.out, "\r\x1b[2K%s", line) // A terminal that went away is no reason to stop.
}

// end ends the line, so that the summary can stand below it.
func (p *progress) end() {
	if p.out != nil && p.done > 0 {
		_, _ = fmt.Fprintln(p.out) // As above.
		p.done = 0
	}
}
