package chaos

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// Report is what all faults did.
type Report struct {
	RunID     string    `json:"run_id"`
	Seed      uint64    `json:"seed"`
	Faults    []Outcome `json:"faults"`
	Planned   int       `json:"planned"`
	Recovered bool      `json:"recovered"` // From every planned fault.

	Medians map[Kind]Median `json:"medians"`
}

// Median is over the faults of one kind that were noticed.
type Median struct {
	N        int     `json:"n"`
	DetectMS float64 `json:"detect_ms"`
	ResumeMS float64 `json:"resume_ms"`
}

func newReport(runID string, seed uint64, planned int, faults []Outcome) Report {
	r := Report{RunID: runID, Seed: seed, Faults: faults, Planned: planned, Medians: map[Kind]Median{}}
	r.Recovered = len(faults) == planned && !slices.ContainsFunc(faults, func(o Outcome) bool { return !o.Recovered })
	detect, resume := map[Kind][]float64{}, map[Kind][]float64{}
	for _, o := range faults {
		if o.DetectMS != nil && o.ResumeMS != nil {
			detect[o.Fault], resume[o.Fault] = append(detect[o.Fault], *o.DetectMS), append(resume[o.Fault], *o.ResumeMS)
		}
	}
	for kind, all := range detect {
		r.Medians[kind] = Median{len(all), median(all), median(resume[kind])}
	}
	return r
}

func median(all []float64) float64 {
	sorted := slices.Sorted(slices.Values(all))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// Print writes the table of the faults and the verdict.
func (r Report) Print(w io.Writer) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(tw, "FAULT\tWORKER\tSTEP\tDETECT\tNEXT RING\tRESUME\tBACK\tSTOOD STILL\tSTEPS AGAIN\tMICRO-BATCHES AGAIN\tRECOVERED") // Flush reports the error.
	for _, o := range r.Faults {
		_, _ = fmt.Fprintf(tw, "%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\t%d\t≤ %d\t%s\n", o.Fault, o.Node, o.Step, seconds(o.DetectMS), seconds(o.FormMS),
			seconds(o.ResumeMS), seconds(o.BackMS), seconds(&o.StoodMS), o.StepsAgain, o.MicroBatchesAgain, o.verdict()) // As above.
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	var b strings.Builder
	for _, kind := range []Kind{Kill, Freeze, Partition, Join, CoordinatorKill} {
		if m, ok := r.Medians[kind]; ok {
			fmt.Fprintf(&b, "%s: detected after %s, resumed after %s (medians of %d)\n", kind, seconds(&m.DetectMS), seconds(&m.ResumeMS), m.N)
		}
	}
	done := 0
	for _, o := range r.Faults {
		if o.Recovered {
			done++
		}
	}
	fmt.Fprintf(&b, "run %s recovered from %d of %d faults; seed %d\n", r.RunID, done, r.Planned, r.Seed)
	_, err := io.WriteString(w, b.String())
	return err
}

func (o Outcome) verdict() string {
	switch {
	case !o.Recovered:
		return "NO: " + o.Note
	case o.Note != "":
		return "yes, " + o.Note
	}
	return "yes"
}

func seconds(ms *float64) string {
	if ms == nil {
		return "-"
	}
	return strconv.FormatFloat(*ms/1000, 'f', 2, 64) + " s"
}
