package coordinator

import (
	"maps"

	"yohaku/coordinator/rendezvous"
	"yohaku/internal/logkey"
	"yohaku/internal/wire"
)

// differed tells the machine that states differ, if d says so, and drops what ranks whose state is
// not to be trusted report of steps.
func (c *Coordinator) differed(d *wire.Difference) []rendezvous.Event {
	if d == nil {
		return nil
	}
	ev := rendezvous.Differed{Generation: c.training.generation, Step: d.Steps, Wrong: suspects(d.Wrong, d.Want), Undecided: suspects(d.Undecided, ""), Gradient: d.Gradient}
	for _, s := range append(d.Wrong, d.Undecided...) {
		if d.Gradient == "" {
			c.training.distrusted[s.Node] = c.training.generation
		}
	}
	return []rendezvous.Event{ev}
}

// trusted tells whether what a rank of the generation says of its state counts. One whose state was wrong
// in an earlier generation is trusted again once it has loaded the state in this one; one that never
// began it, or was believed to have followed the ring, may still have the wrong one. What it said of
// steps before is still dropped.
func (t *trainingState) trusted(node string, anew bool) bool {
	wrongIn, distrusted := t.distrusted[node]
	if !distrusted {
		return true
	}
	if !anew || wrongIn >= t.generation {
		return false
	}
	delete(t.distrusted, node)
	maps.DeleteFunc(t.held[node], func(_ int, s wire.StepReport) bool { return s.Generation <= wrongIn })
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
		if err := c.run.RewindTo(d.Steps - 1); err != nil {
			return err
		}
		t.step = d.Steps - 1
		return c.keepStep(s)
	}
	c.log.Error().Int(logkey.Step, d.Steps).Str("digest", t.last.Replica).Str("want", d.Want).
		Msg("the log has the digest of a wrong state for this step, and nobody reported the right one; verify will say so")
	return nil
}
