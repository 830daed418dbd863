package coordinator

import (
	"maps"
	"slices"

	"yohaku/coordinator/rendezvous"
	"yohaku/internal/logkey"
	"yohaku/internal/wire"
)

// differed tells the machine that states differ, if d says so, and drops what ranks whose state is
// not to be trusted report of the steps to it.
func (c *Coordinator) differed(d *wire.Difference) []rendezvous.Event {
	if d == nil {
		return nil
	}
	ev := rendezvous.Differed{Generation: c.training.generation, Step: d.Steps, Wrong: suspects(d.Wrong, d.Want), Undecided: suspects(d.Undecided, ""), Gradient: d.Gradient}
	c.heardOf(d)
	for _, s := range slices.Concat(d.Wrong, d.Undecided) {
		if d.Gradient == "" {
			c.training.distrusted[s.Node] = distrust{c.training.generation, d.Steps}
		}
	}
	return []rendezvous.Event{ev}
}

// distrust is in which generation a rank's state was wrong, after how many steps.
type distrust struct {
	in   uint64
	step int
}

// counts tells whether what the rank reports of a step counts: all ranks agreed on those before.
func (d distrust) counts(step int) bool { return step < d.step }

// bring takes what a worker found while it belonged to another coordinator, or to none, and which no
// coordinator heard of.
func (c *Coordinator) bring(node string, d *wire.Difference) {
	if d == nil || !c.heardOf(d) {
		return
	}
	event := c.log.Warn().Str(logkey.Node, node).Int(logkey.Step, d.Steps).Str(logkey.Generation, rendezvous.Generation{Epoch: d.Epoch, Number: d.Generation}.String())
	if c.training.active {
		event.Msg("ranks differed and no coordinator was told in time: if the log goes on from a wrong state, verify --step names the step")
		return
	}
	event.Msg("ranks differed while there was no coordinator")
}

// heardOf notes a difference, and tells whether it is new.
func (c *Coordinator) heardOf(d *wire.Difference) bool {
	for _, o := range c.differences {
		if o.Epoch == d.Epoch && o.Generation == d.Generation && o.Steps == d.Steps && o.Gradient == d.Gradient {
			return false
		}
	}
	c.differences = append(c.differences, d)
	return true
}

// distrustBrought voids, before the first generation, what those hold whom others found to be wrong, and
// returns what the machine is to hear of it once it knows who is there.
func (c *Coordinator) distrustBrought() ([]rendezvous.Event, error) {
	c.training.generation = c.run.Manifest.MaxGeneration
	var events []rendezvous.Event
	for _, d := range slices.Clone(c.differences) {
		for _, s := range slices.Concat(d.Wrong, d.Undecided) {
			n, known := c.nodes[s.Node]
			if !known || (rendezvous.Generation{Epoch: d.Epoch, Number: d.Generation}).Before(n.trained) {
				continue // It has loaded a state since.
			}
			n.holding.Partial = nil
			if d.Gradient == "" {
				n.holding = wire.Holding{}
			}
		}
		events = append(events, c.differed(d)...)
		if err := c.correct(d); err != nil {
			return nil, err
		}
	}
	return events, nil
}

// trusted tells whether what a rank of the generation says of its state counts. One whose state was wrong
// in an earlier generation is trusted again once it has loaded the state in this one; one that never
// began it, or was believed to have followed the ring, may still have the wrong one. What it said of
// steps before is still dropped.
func (t *trainingState) trusted(node string, anew bool) bool {
	was, distrusted := t.distrusted[node]
	if !distrusted {
		return true
	}
	if !anew || was.in >= t.generation {
		return false
	}
	delete(t.distrusted, node)
	maps.DeleteFunc(t.held[node], func(_ int, s wire.StepReport) bool { return s.Generation <= was.in && !was.counts(s.Step) })
	return true
}

func suspects(all []wire.Suspect, want string) []rendezvous.Suspect {
	var out []rendezvous.Suspect
	for _, s := range all {
		out = append(out, rendezvous.Suspect{Node: s.Node, Rank: s.Rank, Digest: s.Digest, Want: want, Parts: s.Parts})
	}
	return out
}

// logPutOut names the machine.
func (c *Coordinator) logPutOut(p rendezvous.PutOut) {
	event := c.log.Error().Str(logkey.Node, p.Node).Int(logkey.Rank, p.Rank).Int(logkey.Step, p.Step).
		Str("digest", p.Digest).Str("want", p.Want).Str("parts", p.Parts)
	if n, known := c.nodes[p.Node]; known {
		event = event.Str("host", n.hello.Host)
	}
	switch {
	case p.Final:
		event.Msg("worker was wrong again, put out for good: its memory or processor is faulty, take the machine out")
		return
	case p.Gradient != "":
		event.Str("gradient", p.Gradient).Msg("worker computed a wrong gradient, put out; it gets the state anew")
		return
	}
	event.Msg("worker held a wrong state, put out; it gets the state anew")
}

// logUndecided names all that may be wrong.
func (c *Coordinator) logUndecided(u rendezvous.Undecided) {
	text := "states differ and no majority tells which is right; computing again from the last checkpoint tells"
	if u.Gradient != "" {
		text = "gradients differ and no majority tells which is right; the step is computed again: if it stays so, a third worker tells"
	}
	for _, s := range u.Suspects {
		c.log.Error().Str(logkey.Node, s.Node).Int(logkey.Rank, s.Rank).Int(logkey.Step, u.Step).Str("digest", s.Digest).Str("parts", s.Parts).Str("gradient", u.Gradient).Msg(text)
	}
}

// correct replaces the last line of the log, if it was taken from the report of a rank whose state
// turned out to be wrong before the step was confirmed.
func (c *Coordinator) correct(d *wire.Difference) error {
	t := &c.training
	if d == nil || d.Want == "" || d.Gradient != "" || d.Steps != t.step || t.last.Step != t.step || t.last.Replica == d.Want {
		return nil
	}
	for _, s := range t.settled[d.Steps] {
		if s.Replica != d.Want {
			continue
		}
		if err := c.rewind(d.Steps - 1); err != nil {
			return err
		}
		t.step = d.Steps - 1
		return c.keepStep(s)
	}
	c.log.Error().Int(logkey.Step, d.Steps).Str("digest", t.last.Replica).Str("want", d.Want).
		Msg("the log has the digest of a wrong state for this step, and nobody reported the right one; verify will say so")
	return nil
}
