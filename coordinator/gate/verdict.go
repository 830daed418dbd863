package gate

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Result is one KPI judged. Value is nil when the figure is missing, which is a fail.
type Result struct {
	Stage    string   `json:"stage"`
	KPI      string   `json:"kpi"`
	Rule     string   `json:"rule"`
	Value    *float64 `json:"value"`
	Pass     bool     `json:"pass"`
	Evidence string   `json:"evidence"` // Where the figure came from, or how to get it.
}

// Verdict is gate.json.
type Verdict struct {
	Stage            string   `json:"stage"`
	Pass             bool     `json:"pass"`
	CheckpointSHA256 string   `json:"checkpoint_sha256"`
	GatesSHA256      string   `json:"gates_sha256"`
	Results          []Result `json:"results"`
}

// Judge holds the run in folder run against the stages up to the one asked for. All must pass. It
// returns ErrNoReport when the run has not ended.
func Judge(run string, f File) (Verdict, error) {
	e, err := readEvidence(run)
	if err != nil {
		return Verdict{}, err
	}
	v := Verdict{Stage: f.Stage, Pass: true, CheckpointSHA256: e.report.CheckpointSHA256, GatesSHA256: f.SHA256}
	for _, s := range f.Stages {
		for _, k := range s.KPIs {
			figure := e.figure(k.Name, f)
			r := Result{Stage: s.Name, KPI: k.Name, Rule: k.rule(), Value: figure.Value, Evidence: figure.From}
			r.Pass = r.Value != nil && k.holds(*r.Value)
			v.Pass = v.Pass && r.Pass
			v.Results = append(v.Results, r)
		}
		if s.Name == f.Stage {
			break
		}
	}
	return v, nil
}

// Failed is the number of KPIs that failed.
func (v Verdict) Failed() int {
	n := 0
	for _, r := range v.Results {
		if !r.Pass {
			n++
		}
	}
	return n
}

// String is one line for each KPI and one for the verdict.
func (v Verdict) String() string {
	var b strings.Builder
	for _, r := range v.Results {
		mark, value := "FAIL", "missing"
		if r.Pass {
			mark = "pass"
		}
		if r.Value != nil {
			value = fmt.Sprintf("%.4g", *r.Value)
		}
		fmt.Fprintf(&b, "%s  %-8s %-18s %-8s %-14s %s\n", mark, r.Stage, r.KPI, value, r.Rule, r.Evidence)
	}
	if v.Pass {
		fmt.Fprintf(&b, "stage %s: passed, all %d figures\n", v.Stage, len(v.Results))
	} else {
		fmt.Fprintf(&b, "stage %s: failed, %d of %d figures\n", v.Stage, v.Failed(), len(v.Results))
	}
	return b.String()
}

// JSON is the verdict as a file.
func (v Verdict) JSON() []byte {
	data, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		panic("encode verdict: " + err.Error()) // measured keeps what is not finite out.
	}
	return append(data, '\n')
}
