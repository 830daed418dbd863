package coordinator

import (
	"context"
	"fmt"

	"yohaku/coordinator/config"
	"yohaku/coordinator/health"
	"yohaku/internal/logkey"
	"yohaku/internal/wire"
)

// newWatch watches a run of these settings.
func newWatch(c config.Config) *health.Watch {
	switch c.Form {
	case config.FormReferenceCode:
		return health.New(c.BetaMaPO)
	case config.FormPaper:
		return health.New(1 / c.BetaMaPO)
	}
	return health.New(0)
}

func watched(s wire.StepReport) health.Step {
	return health.Step{Step: s.Step, WinnerMSE: s.WinnerMSE, LoserMSE: s.LoserMSE, LogOdds: s.LogOdds, LossRatio: s.LossRatio, GradNorm: s.GradNorm}
}

// warn logs what a committed step gives to warn of.
func (c *Coordinator) warn(s wire.StepReport) {
	for _, e := range c.watch.Step(watched(s)) {
		c.log.Warn().Int(logkey.Step, e.Step).Str("rule", e.Rule).Str("cause", e.Text).Msg("training health")
	}
}

// rewatch goes through the recorded steps once more: of a run that was resumed, or went back to a checkpoint.
func (c *Coordinator) rewatch() (events []health.Event, err error) {
	c.watch = newWatch(c.o.Config)
	err = c.run.EachStep(0, func(s wire.StepReport) bool {
		events = append(events, c.watch.Step(watched(s))...)
		return true
	})
	return events, err
}

// startWatch begins to watch, after the steps that are recorded already.
func (c *Coordinator) startWatch(context.Context) error {
	_, err := c.rewatch()
	return err
}

// rewind forgets the steps after step, which will be computed again, and what they gave to warn of.
func (c *Coordinator) rewind(step int) error {
	if err := c.run.RewindTo(step); err != nil {
		return err
	}
	_, err := c.rewatch()
	return err
}

// healthNotes are the warnings of all steps, for the report.
func (c *Coordinator) healthNotes() ([]string, error) {
	events, err := c.rewatch()
	notes := make([]string, len(events))
	for i, e := range events {
		notes[i] = fmt.Sprintf("health, step %d: %s", e.Step, e.Text)
	}
	return notes, err
}
