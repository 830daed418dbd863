package rendezvous

import (
	"slices"

	"yohaku/internal/assert"
	"yohaku/internal/assignment"
)

// want is the number of members that the next generation waits for: all but one may die later.
func (m *Machine) want() int {
	if m.generation == 0 {
		return m.c.MinWorkers
	}
	return 1
}

// form starts a generation, after a donation if one is needed, or says for whom it waits.
func (m *Machine) form() []Effect {
	if !m.ready || !m.idle() {
		return nil
	}
	step := m.furthest()
	if step != m.donated.step {
		m.donated = donation{} // The shell drops it too: nobody can use it, and the log goes on without it.
	}
	chosen := m.choose()
	last := m.c.Steps
	if parting := m.parting(step); m.stopping || len(chosen) == 0 && parting != nil {
		last = step // Only the checkpoint is missing.
		if len(chosen) == 0 && parting != nil {
			chosen = []*member{parting}
		}
	}
	if m.stopping && (step <= m.c.Checkpoint || len(chosen) == 0) {
		return m.finish(Finish{})
	}
	all := len(chosen)
	chosen = m.able(step, chosen)
	if effects := m.donate(step, chosen); effects != nil {
		return effects
	}
	if released := m.releaseLeavers(chosen); len(released) > 0 {
		return append(released, m.form()...) // They may have been the last from whom step could be reached.
	}
	sources := make([]Source, len(chosen))
	for rank, n := range chosen {
		sources[rank] = m.source(n, step)
		n.source = sources[rank]
	}
	var effects []Effect
	if len(chosen) < min(m.want(), m.c.MicroBatches) {
		if m.unfit != nil && len(chosen) == 0 {
			return m.finish(Finish{Err: m.unfit})
		}
		return append(effects, Wait{Have: len(chosen), Want: m.want()})
	}
	m.generation++
	m.nodes, m.live = nil, make(map[string]bool, len(chosen))
	for _, n := range chosen {
		m.nodes = append(m.nodes, n.name)
		m.live[n.name] = true
	}
	effects = append(effects, m.formEffect(step, last, chosen, sources))
	if len(chosen) < all {
		effects = append(effects, m.pause(false)...) // The others enter at the next boundary.
	}
	return append(effects, m.prepareFree()...)
}

// able leaves out who needs the state of step while nobody holds it: when the sums that lead to it were
// handed over, and their donor is gone.
func (m *Machine) able(step int, chosen []*member) []*member {
	if step == m.c.Checkpoint || m.donated.state && m.donated.step == step || m.holder(step) != nil {
		return chosen
	}
	return slices.DeleteFunc(chosen, func(n *member) bool { return m.source(n, step) == LoadState })
}

// holder is a member that stands at step, or nil.
func (m *Machine) holder(step int) *member {
	return m.willing(func(n *member) bool { return n.holding.Loaded && n.holding.Applied == step })
}

// willing is the member that may be a donor and failed least often as one, or nil.
func (m *Machine) willing(may func(*member) bool) *member {
	var best *member
	for _, n := range m.members {
		if may(n) && (best == nil || n.refusals < best.refusals) {
			best = n
		}
	}
	return best
}

// furthest is the step that training can go on at: where the furthest member stands, what was
// handed over already leads to, or the last checkpoint.
func (m *Machine) furthest() int {
	step := m.c.Checkpoint
	if m.donated.state {
		step = max(step, m.donated.step)
	}
	for _, n := range m.members {
		if !n.holding.Loaded {
			continue
		}
		step = max(step, n.holding.Applied)
		if m.donated.sums && n.holding.Applied == m.donated.step-1 {
			step = max(step, m.donated.step)
		}
	}
	return step
}

// choose picks the ranks, up to one for each micro-batch: those with the state first, then those
// prepared. When nobody that stays holds the state, all are alike.
func (m *Machine) choose() []*member {
	held := slices.ContainsFunc(m.members, func(n *member) bool { return n.holding.Loaded && !n.leaving && !n.unfit })
	var chosen []*member
	for _, loaded := range []bool{true, false} {
		for _, n := range m.members {
			fit := !n.leaving && !n.unfit && (!held || n.holding.Loaded || n.prepared)
			if fit && n.holding.Loaded == loaded && len(chosen) < m.c.MicroBatches {
				chosen = append(chosen, n)
			}
		}
	}
	return chosen
}

// source is where a member gets the state of step.
func (m *Machine) source(n *member, step int) Source {
	h := n.holding
	switch {
	case h.Loaded && h.Applied == step:
		return Keep
	case h.Loaded && h.Applied == step-1 && (m.donated == donation{step, m.donated.state, true} || m.sumsHolder(step) != nil):
		return TakeSums
	}
	return LoadState
}

// sumsHolder is a member that has the complete sums which led to step, or nil.
func (m *Machine) sumsHolder(step int) *member {
	return m.willing(func(n *member) bool { return n.holding.Loaded && n.holding.Applied == step && n.holding.Sums })
}

// donate asks a member that stands at step for what the chosen ones lack, unless it was handed over already.
func (m *Machine) donate(step int, chosen []*member) []Effect {
	want := donation{step: step}
	for _, n := range chosen {
		switch m.source(n, step) {
		case TakeSums:
			want.sums = true
		case LoadState:
			want.state = want.state || step != m.c.Checkpoint
		}
	}
	if m.donated.step == step {
		want.state = want.state && !m.donated.state
		want.sums = want.sums && !m.donated.sums
	}
	if !want.state && !want.sums {
		return nil
	}
	donor := m.sumsHolder(step)
	if donor == nil { // Nobody wants sums then, and the state was not handed over yet: somebody holds it.
		donor = m.holder(step)
		assert.That(donor != nil, "step %d is nowhere", step)
	}
	m.donor, m.asked = donor.name, want
	return []Effect{Donate{Node: donor.name, Step: step, State: want.state, Sums: want.sums}}
}

// parting is a member that wants to leave with the only copy of step, or nil.
func (m *Machine) parting(step int) *member {
	for _, n := range m.members {
		if n.leaving && n.holding.Loaded && n.holding.Applied == step && step > m.c.Checkpoint {
			return n
		}
	}
	return nil
}

// releaseLeavers lets those go that are not needed any more.
func (m *Machine) releaseLeavers(needed []*member) []Effect {
	var effects []Effect
	for _, n := range slices.Clone(m.members) {
		if n.leaving && !slices.Contains(needed, n) {
			effects = append(effects, m.release(n)...)
		}
	}
	return effects
}

func (m *Machine) formEffect(step, last int, chosen []*member, sources []Source) Form {
	f := Form{Generation: m.generation, Nodes: slices.Clone(m.nodes), FirstStep: step, LastStep: last, Sources: sources, Checkpoint: step == m.c.Checkpoint}
	due := step >= f.LastStep || m.c.SaveEvery > 0 && step > 0 && step%m.c.SaveEvery == 0
	f.Save = due && step > m.c.Checkpoint
	have := make([][]int, len(chosen))
	for rank, n := range chosen {
		if sources[rank] == Keep {
			have[rank] = n.holding.Partial
		}
		f.Seconds = append(f.Seconds, n.seconds)
	}
	f.First = assignment.Fill(m.c.MicroBatches, have, f.Seconds)
	f.Shares = assignment.BySpeed(m.c.MicroBatches, f.Seconds)
	return f
}
