package profile

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"yohaku/model/compile"
	"yohaku/model/op"
)

// group is instructions that are shown as one line.
type group struct {
	name         string
	count        int
	time         time.Duration
	flops, bytes int64
}

// WriteTable writes two tables: time by operator, and every instruction, the slowest first.
func WriteTable(w io.Writer, title string, code []compile.InstructionProfile) error {
	var total time.Duration
	for _, c := range code {
		total += c.Time
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	p := &printer{w: t}
	p.printf("%s: %d instructions, %.2f ms\n\n", title, len(code), milliseconds(total))
	p.printf("operator\tcount\tms\tshare\tGFLOP/s\tGB/s\t\n")
	for _, g := range byOperator(code) {
		p.printf("%s\t%d\t%.3f\t%.1f%%\t%s\t%s\t\n", g.name, g.count, milliseconds(g.time), share(g.time, total), rate(g.flops, g.time), rate(g.bytes, g.time))
	}
	p.printf("\nms\tshare\tGFLOP/s\tMB\toperator\tscope\toperands\t\n")
	slowest := slices.Clone(code)
	slices.SortStableFunc(slowest, func(a, b compile.InstructionProfile) int { return cmp.Compare(b.Time, a.Time) })
	for _, c := range slowest {
		p.printf("%.3f\t%.1f%%\t%s\t%.2f\t%s\t%s\t%s\t\n", milliseconds(c.Time), share(c.Time, total), rate(c.FLOPs, c.Time), float64(c.Bytes())/1e6,
			label(c), cmp.Or(c.Scope, "-"), shapes(c.Operands))
	}
	if p.err == nil {
		p.err = t.Flush()
	}
	return p.err
}

// printer remembers the first error.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) printf(format string, a ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, a...)
	}
}

func byOperator(code []compile.InstructionProfile) []group {
	at := map[string]int{}
	var groups []group
	for _, c := range code {
		name := label(c)
		i, ok := at[name]
		if !ok {
			i, at[name] = len(groups), len(groups)
			groups = append(groups, group{name: name})
		}
		g := &groups[i]
		g.count, g.time, g.flops, g.bytes = g.count+1, g.time+c.Time, g.flops+c.FLOPs, g.bytes+c.Bytes()
	}
	slices.SortStableFunc(groups, func(a, b group) int { return cmp.Compare(b.time, a.time) })
	return groups
}

// label tells a forward operator from the same one in the backward pass, and from one that is computed again.
func label(c compile.InstructionProfile) string {
	if k := category(c); k != "forward" {
		return c.Op + " (" + k + ")"
	}
	return c.Op
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func share(part, total time.Duration) float64 { return 100 * over(float64(part), float64(total)) }

// rate is n a nanosecond, empty for none.
func rate(n int64, t time.Duration) string {
	r := over(float64(n), float64(t.Nanoseconds()))
	if r == 0 {
		return ""
	}
	return strconv.FormatFloat(r, 'f', 1, 64)
}

func shapes(in []op.Shape) string {
	var all []string
	for _, s := range in {
		all = append(all, strings.ReplaceAll(strings.Trim(fmt.Sprint([]int(s)), "[]"), " ", "×"))
	}
	return strings.Join(all, ", ")
}
