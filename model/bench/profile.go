package bench

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"yohaku/model/backend/cpu"
	"yohaku/model/compile"
	"yohaku/model/op"
)

// Profile runs the gradients of a step's request and measures each instruction; during, if not nil, is called between
// the warm-up and the runs that count, and what it returns after them.
func Profile(r Request, threads, runs int, during func() (func() error, error)) ([]compile.InstructionProfile, error) {
	be := cpu.New(threads)
	defer be.Close()
	e, err := profiled(r, be)
	if err != nil {
		return nil, err
	}
	if err := e.Run(nil); err != nil {
		return nil, err
	}
	e.ResetProfile()
	stop := func() error { return nil }
	if during != nil {
		if stop, err = during(); err != nil {
			return nil, err
		}
	}
	for range runs {
		if err := e.Run(nil); err != nil {
			return nil, err
		}
	}
	return e.Profile(), stop()
}

// group is instructions that are shown as one line.
type group struct {
	name  string
	count int
	time  time.Duration
	flops int64
}

// WriteProfile writes two tables: time by operator, and every instruction, the slowest first. Bytes are those of the
// operands, read once.
func WriteProfile(w io.Writer, title string, code []compile.InstructionProfile) error {
	var total time.Duration
	for _, c := range code {
		total += c.Time
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	p := &printer{w: t}
	p.printf("%s: %d instructions, %.2f ms\n\n", title, len(code), milliseconds(total))
	p.printf("operator\tcount\tms\tshare\tGFLOP/s\t\n")
	for _, g := range byOperator(code) {
		p.printf("%s\t%d\t%.3f\t%.1f%%\t%s\t\n", g.name, g.count, milliseconds(g.time), share(g.time, total), rate(g.flops, g.time))
	}
	p.printf("\nms\tshare\tGFLOP/s\toperand MB\toperator\tscope\toperands\t\n")
	slices.SortStableFunc(code, func(a, b compile.InstructionProfile) int { return cmp.Compare(b.Time, a.Time) })
	for _, c := range code {
		p.printf("%.3f\t%.1f%%\t%s\t%.2f\t%s\t%s\t%s\t\n", milliseconds(c.Time), share(c.Time, total), rate(c.FLOPs, c.Time), operandMB(c.Operands),
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
		g.count, g.time, g.flops = g.count+1, g.time+c.Time, g.flops+c.FLOPs
	}
	slices.SortStableFunc(groups, func(a, b group) int { return cmp.Compare(b.time, a.time) })
	return groups
}

// label tells a forward operator from the same one in the backward pass.
func label(c compile.InstructionProfile) string {
	if c.Backward {
		return c.Op + " (backward)"
	}
	return c.Op
}

func share(part, total time.Duration) float64 {
	return 100 * over(float64(part), float64(total))
}

func rate(flops int64, t time.Duration) string {
	return number(over(float64(flops), float64(t.Nanoseconds())), 1)
}

func operandMB(in []op.Shape) float64 {
	n := 0
	for _, s := range in {
		n += s.TotalSize()
	}
	return 4 * float64(n) / 1e6
}

func shapes(in []op.Shape) string {
	var all []string
	for _, s := range in {
		all = append(all, strings.ReplaceAll(strings.Trim(fmt.Sprint([]int(s)), "[]"), " ", "×"))
	}
	return strings.Join(all, ", ")
}
