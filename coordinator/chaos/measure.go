package chaos

import (
	"slices"
	"time"

	"yohaku/coordinator/api"
)

// Outcome is what one fault did. Times are in milliseconds after the fault; nil is not seen.
type Outcome struct {
	Fault Kind   `json:"fault"`
	Node  string `json:"node,omitempty"`
	Step  int    `json:"step"` // Committed before.

	DetectMS *float64 `json:"detect_ms"` // The loss was known, or a new worker said hello, or one to the coordinator that is back.
	FormMS   *float64 `json:"form_ms"`   // The next ring was ordered.
	ResumeMS *float64 `json:"resume_ms"` // Its first step was committed.
	BackMS   *float64 `json:"back_ms"`   // A worker that was frozen or cut off takes part in a committed step again.
	StoodMS  float64  `json:"stood_ms"`  // From the last step before to the first after.

	StepsAgain        int `json:"steps_again"`         // Committed steps that were lost with all who had them.
	MicroBatchesAgain int `json:"micro_batches_again"` // Of the step under way, at most.

	StepsMeanwhile int `json:"steps_meanwhile,omitempty"` // From the coordinator's end to the next ring.

	Recovered bool   `json:"recovered"`
	Note      string `json:"note,omitempty"`
}

// measure reads what followed a fault at t0 from the run's events. before are the nodes that
// were there then.
func (o *Outcome) measure(t0 time.Time, before []string, events []api.Event) {
	after := func(e api.Event) *float64 {
		ms := float64(e.Time.Sub(t0).Microseconds()) / 1000
		return &ms
	}
	var ring uint64 // The first one after the fault was noticed.
	away := false
	for _, e := range events {
		if e.Time.Before(t0) {
			continue
		}
		switch {
		case e.Kind == api.WorkerReady && o.Fault == Join && o.Node == "" && !slices.Contains(before, e.Node):
			o.Node, o.DetectMS = e.Node, after(e)
		case e.Kind == api.WorkerReady && o.Fault == CoordinatorKill && o.DetectMS == nil:
			o.DetectMS = after(e)
		case (e.Kind == api.WorkerGone && e.Node == o.Node || e.Kind == api.GenerationEnds) && o.Fault != Join && o.DetectMS == nil:
			o.DetectMS = after(e)
		case e.Kind == api.GenerationFormed && o.DetectMS != nil:
			if o.FormMS == nil && (o.Fault != Join || slices.Contains(e.Nodes, o.Node)) {
				ring, o.FormMS = e.Generation, after(e)
				o.meanwhile(e)
			}
			o.StepsAgain += e.StepsLost
			o.MicroBatchesAgain += e.MicroBatches
			away = !slices.Contains(e.Nodes, o.Node)
		case e.Kind == api.GoesOn && ring > 0 && e.Generation >= ring:
			if o.ResumeMS == nil {
				o.ResumeMS, o.StoodMS = after(e), e.StoodMS
			}
			if o.Fault.lasts() && !away && o.BackMS == nil {
				o.BackMS = after(e)
			}
		}
	}
}

// meanwhile counts the steps that the ring made without a coordinator, until e.
func (o *Outcome) meanwhile(e api.Event) {
	if o.Fault == CoordinatorKill {
		o.StepsMeanwhile = e.Step - o.Step
	}
}

// lasts tells whether the fault ends by itself, and the worker comes back.
func (k Kind) lasts() bool { return k == Freeze || k == Partition }

// done tells whether the cluster has recovered from the fault.
func (o *Outcome) done() bool { return o.ResumeMS != nil && (!o.Fault.lasts() || o.BackMS != nil) }
