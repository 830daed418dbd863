package inspect

import (
	"fmt"
	"strings"
	"text/tabwriter"
)

// String is the report for people.
func (r Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n  %s, %s, %s, scheduler %s\n\n", r.Path, r.Class, r.Family, r.PredictionType, r.Scheduler)
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "  component\tclass\tparameters\ttype\tsize\tsha256")
	for _, c := range r.Components {
		fmt.Fprintf(t, "  %s\t%s\t%s\t%s\t%s\t%.12s…\n", c.Name, c.Class, count(c.Parameters), c.DType, bytes(c.Bytes), c.SHA256)
	}
	flush(t)
	for _, p := range []struct {
		name string
		plan *Plan
	}{{"the UNet", r.Full}, {"adapters", r.LoRA}} {
		if p.plan != nil {
			fmt.Fprintf(&b, "\ntraining %s at %d pixels, %d pairs in a micro-batch%s\n", p.name, r.Resolution, r.Items, p.plan.targets())
			b.WriteString(p.plan.String())
		}
	}
	for _, p := range r.Problems {
		fmt.Fprintf(&b, "\nproblem: %s\n", p)
	}
	return b.String()
}

func (p Plan) targets() string {
	if len(p.Targets) == 0 {
		return ""
	}
	return ", on " + strings.Join(p.Targets, ",")
}

// String is the plan for people.
func (p Plan) String() string {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, line := range [][2]string{
		{"trained", count(p.Trained) + " parameters"}, {"frozen", count(p.Frozen) + " parameters"},
		{"work", fmt.Sprintf("%.3g TFLOP a micro-batch", float64(p.FLOPs)/1e12)},
		{"memory", fmt.Sprintf("%s: parameters %s, activations %s, optimizer %s, sums %s", bytes(p.MemoryBytes), bytes(p.ParameterBytes), bytes(p.ActivationBytes), bytes(p.OptimizerBytes), bytes(p.SumsBytes))},
		{"in a ring", bytes(p.MemoryBytesInRing)},
	} {
		fmt.Fprintf(t, "  %s\t%s\n", line[0], line[1])
	}
	flush(t)
	return b.String()
}

// flush writes a table into a strings.Builder, which never fails.
func flush(t *tabwriter.Writer) { _ = t.Flush() }

// count is a number of parameters: 859.5 M.
func count(n int64) string {
	switch {
	case n >= 1e9:
		return fmt.Sprintf("%.2f G", float64(n)/1e9)
	case n >= 1e6:
		return fmt.Sprintf("%.1f M", float64(n)/1e6)
	case n >= 1e3:
		return fmt.Sprintf("%.1f k", float64(n)/1e3)
	}
	return fmt.Sprint(n)
}

func bytes(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.2f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	}
	return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
}
