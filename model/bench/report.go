package bench

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// columns of the table, with their widths; the first is aligned to the left.
var columns = []struct {
	name  string
	width int
}{
	{"work", 42}, {"dtype", 8}, {"ours ms", 9}, {"peer ms", 9}, {"ratio", 6}, {"least–most", 11}, {"ours GFLOP/s", 12}, {"peer GFLOP/s", 12},
	{"ours MB", 8}, {"peer MB", 8}, {"others", 6}, {"peer's best", 11},
}

// Header writes the head of the table, which is Markdown too.
func Header(w io.Writer) error {
	cells, rule := make([]string, len(columns)), make([]string, len(columns))
	for i, c := range columns {
		cells[i], rule[i] = c.name, strings.Repeat("-", c.width-1)+":"
	}
	rule[0] = strings.Repeat("-", columns[0].width)
	return writeRows(w, cells, rule)
}

func writeRows(w io.Writer, rows ...[]string) error {
	for _, cells := range rows {
		var b strings.Builder
		for i, c := range columns {
			width := c.width
			if i == 0 {
				width = -width
			}
			fmt.Fprintf(&b, "| %*s ", width, cells[i])
		}
		if _, err := fmt.Fprintln(w, b.String()+"|"); err != nil {
			return fmt.Errorf("write table: %w", err)
		}
	}
	return nil
}

// WriteRow writes one row of the table.
func (r Result) WriteRow(w io.Writer) error {
	low, high := r.ratios()
	cells := []string{r.Work.Work, r.Work.DType, number(r.Ours.MS, 3), number(r.Peer.MS, 3), number(r.Ratio(), 2), "",
		number(r.rate(r.Ours.MS), 0), number(r.rate(r.Peer.MS), 0), "", "", "", r.Peer.Variant}
	if high > 0 {
		cells[5] = fmt.Sprintf("%.2f–%.2f", low, high)
	}
	if r.Work.Step {
		cells[8], cells[9] = number(megabytes(r.Ours), 0), number(megabytes(r.Peer), 0)
	}
	if r.Others >= 0 {
		cells[10] = fmt.Sprintf("%.2f", r.Others)
	}
	return writeRows(w, cells)
}

// Busy tells whether other processes took so much of the machine that the times say little.
func (r Result) Busy() bool { return r.Others > 0.2 }

// number is empty for what was not measured.
func number(x float64, decimals int) string {
	if x == 0 {
		return ""
	}
	return fmt.Sprintf("%.*f", decimals, x)
}

// Ratio is the peer's time over ours: above 1 we are better. 0 without a peer.
func (r Result) Ratio() float64 { return over(r.Peer.MS, r.Ours.MS) }

func over(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

// ratios are the least and the most of the turns, each one's two sides measured one after the other.
func (r Result) ratios() (low, high float64) {
	for i, ms := range r.Peer.Turns {
		x := over(ms, r.Ours.Turns[i])
		if i == 0 || x < low {
			low = x
		}
		high = max(high, x)
	}
	return low, high
}

// rate is in GFLOP/s. Both sides are held to our count, so that their rates compare as their times do.
func (r Result) rate(ms float64) float64 { return over(float64(r.Ours.FLOPs)/1e6, ms) }

func megabytes(f Figures) float64 { return float64(f.PeakBytes) / 1e6 }

// row is a row for scripts.
type row struct {
	Work  string   `json:"work"`
	DType string   `json:"dtype"`
	Ours  float64  `json:"ours"`
	Peer  *float64 `json:"peer"` // null without a peer.
	Unit  string   `json:"unit"`
	Ratio *float64 `json:"ratio"` // Above 1: we are better.
}

// WriteJSON writes the row as a line of JSON, and for steps another one with the peak of resident memory.
func (r Result) WriteJSON(w io.Writer) error {
	out := json.NewEncoder(w)
	if err := out.Encode(line(r.Work.Work, r.Work.DType, "ms", r.Ours.MS, r.Peer.MS)); err != nil {
		return fmt.Errorf("write row: %w", err)
	}
	if !r.Work.Step || r.Ours.PeakBytes == 0 {
		return nil
	}
	if err := out.Encode(line(r.Work.Work+"-memory", r.Work.DType, "MB", megabytes(r.Ours), megabytes(r.Peer))); err != nil {
		return fmt.Errorf("write row: %w", err)
	}
	return nil
}

func line(work, dtype, unit string, ours, peer float64) row {
	l := row{Work: work, DType: dtype, Ours: ours, Unit: unit}
	if peer > 0 {
		ratio := over(peer, ours)
		l.Peer, l.Ratio = &peer, &ratio
	}
	return l
}
