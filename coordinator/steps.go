package coordinator

import (
	"fmt"
	"maps"
	"slices"

	"yohaku/coordinator/api"
	"yohaku/coordinator/rendezvous"
	"yohaku/internal/logkey"
	"yohaku/internal/wire"
)

// maxAhead bounds the steps that wait for those before them.
const maxAhead = 1 << 20

// hold notes steps that a rank has applied. The generation that goes on from there commits them.
func (c *Coordinator) hold(node string, steps []wire.StepReport) {
	t := &c.training
	if t.held == nil {
		t.held = map[string]map[int]wire.StepReport{}
	}
	mine := t.held[node]
	if mine == nil {
		mine = map[int]wire.StepReport{}
		t.held[node] = mine
	}
	for _, s := range steps {
		if s.Step > t.step && len(mine) < maxAhead && validStep(s) {
			mine[s.Step] = s
		}
	}
}

// keepSteps records committed steps, each once. They may come from two ranks, which do not wait for
// each other, so one that comes too early waits.
func (c *Coordinator) keepSteps(steps []wire.StepReport) error {
	t := &c.training
	if t.ahead == nil {
		t.ahead = map[int]wire.StepReport{}
	}
	for _, s := range steps {
		if s.Step > t.step && len(t.ahead) < maxAhead && validStep(s) && !before(s, t.last) {
			t.ahead[s.Step] = s
		}
	}
	for s, ok := t.ahead[t.step+1]; ok; s, ok = t.ahead[t.step+1] {
		delete(t.ahead, s.Step)
		if before(s, t.last) {
			continue // Of a ring whose steps the run went back on.
		}
		if err := c.keepStep(s); err != nil {
			return err
		}
	}
	return nil
}

// validStep tells whether a report has a share for each node.
func validStep(s wire.StepReport) bool { return len(s.Nodes) > 0 && len(s.Nodes) == len(s.Shares) }

func before(a, b wire.StepReport) bool {
	return rendezvous.Generation{Epoch: a.Epoch, Number: a.Generation}.Before(rendezvous.Generation{Epoch: b.Epoch, Number: b.Generation})
}

// reported tells whether all steps up to last are recorded, or can be.
func (c *Coordinator) reported(last int) bool {
	for step := c.training.step + 1; step <= last; step++ {
		if _, ok := c.training.report(step, c.training.said(step)); !ok {
			return false
		}
	}
	return true
}

// said is what ranks that are to be trusted report of a step, by their names.
func (t *trainingState) said(step int) []wire.StepReport {
	var all []wire.StepReport
	for _, name := range slices.Sorted(maps.Keys(t.held)) {
		s, ok := t.held[name][step]
		if was, distrusted := t.distrusted[name]; ok && (!distrusted || was.counts(step)) {
			all = append(all, s)
		}
	}
	return all
}

// report is what is known of a step that is not recorded yet: what rank 0 says is committed, or else
// what most say.
func (t *trainingState) report(step int, said []wire.StepReport) (wire.StepReport, bool) {
	if s, ok := t.ahead[step]; ok {
		return s, true
	}
	if len(said) == 0 {
		return wire.StepReport{}, false
	}
	return rendezvous.MostSaid(said, func(s wire.StepReport) string { return s.Replica }), true
}

// commitHeld records the steps up to last that ranks have applied; the others are forgotten. They may
// not have been confirmed, so what the ranks say may differ: see correct.
func (c *Coordinator) commitHeld(last int) error {
	t := &c.training
	t.settled = map[int][]wire.StepReport{}
	for t.step < last {
		said := t.said(t.step + 1)
		s, ok := t.report(t.step+1, said)
		if !ok {
			break
		}
		t.settled[s.Step] = said
		if err := c.keepStep(s); err != nil {
			return err
		}
	}
	t.held, t.ahead = nil, nil
	return nil
}

// keepStep records the step after the last recorded one.
func (c *Coordinator) keepStep(s wire.StepReport) error {
	for rank, name := range s.Nodes {
		if n, known := c.nodes[name]; known {
			n.itemsPerSecond = s.ItemsPerSecond * float64(len(s.Shares[rank])) / float64(c.o.Config.GradientAccumulationSteps)
		}
	}
	if err := c.run.AppendStep(s); err != nil {
		return err
	}
	c.metrics.Step(s)
	c.stream.Publish("step", point(s))
	c.noteCommit(s)
	c.warn(s)
	if s.NonFinite != "" {
		c.log.Error().Int(logkey.Step, s.Step).Bool("skipped", s.Skipped).Str("cause", s.NonFinite).Msg("gradient not finite")
		if c.o.Config.NonFinitePolicy == "halt" {
			c.training.halted = fmt.Errorf("step %d is halted: the %s is not finite, and its update was left out; a checkpoint is kept: --resume the run to go on after it, or start one with a lower --learning-rate, or with --nonfinite-policy skip", s.Step, s.NonFinite)
		}
	}
	if c.training.active {
		c.progress.step(s)
	}
	nodes := c.table()
	c.show(func(st *api.Status) {
		st.Nodes = nodes
		st.Step, st.Loss, st.LogOdds, st.ItemsPerSecond = s.Step, s.Loss, s.LogOdds, s.ItemsPerSecond
	})
	return nil
}
