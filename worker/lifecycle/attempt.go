package lifecycle

import (
	"cmp"
	"slices"
)

// maxAsked bounds the ranks that one Ask goes to.
const maxAsked = 4

// try begins an attempt at the step: the own micro-batches that are not in the partial sums yet.
func (m *Machine) try() []Effect {
	m.state, m.doing, m.asking, m.early = Computing, None, false, nil
	m.settled = !m.c.TakeOver
	m.queue = nil
	for _, mb := range m.shares[m.c.Rank] {
		if !slices.Contains(m.holding.Partial, mb) {
			m.queue = append(m.queue, mb)
		}
	}
	if len(m.holding.Partial) == 0 {
		return append([]Effect{Clear{}}, m.proceed()...)
	}
	return m.proceed()
}

// proceed begins the next own micro-batch. Once the last one is begun, it asks for one of another
// rank's; when there is none, it tells all ranks what the sums of this one hold.
func (m *Machine) proceed() []Effect {
	var effects []Effect
	step := m.holding.Applied
	if m.doing == None && len(m.queue) > 0 {
		m.doing, m.queue = m.queue[0], m.queue[1:]
		effects = append(effects, Compute{Step: step, Attempt: m.attempt, MicroBatch: m.doing})
	}
	if len(m.queue) > 0 || m.asking || m.state != Computing {
		return effects
	}
	if ranks := m.stragglers(); !m.settled && len(ranks) > 0 {
		m.asking = true
		return append(effects, Ask{Step: step, Attempt: m.attempt, Ranks: ranks})
	}
	m.state = Exchanging
	told := slices.Clone(m.holding.Partial)
	if m.doing != None {
		told = append(told, m.doing)
	}
	return append(effects, Exchange{Step: step, Attempt: m.attempt, MicroBatches: told})
}

// stragglers are the ranks that may have a micro-batch not begun, those first that are expected to
// end last.
func (m *Machine) stragglers() []int {
	var ranks []int
	for rank, share := range m.shares {
		if rank != m.c.Rank && len(share) > 1 { // The first is begun at once.
			ranks = append(ranks, rank)
		}
	}
	slices.SortStableFunc(ranks, func(a, b int) int { return cmp.Compare(m.expected(b), m.expected(a)) })
	return ranks[:min(len(ranks), maxAsked)]
}

// expected is the time that a rank needs for its share.
func (m *Machine) expected(rank int) float64 {
	seconds := 1.0
	if rank < len(m.seconds) && m.seconds[rank] > 0 {
		seconds = m.seconds[rank]
	}
	return seconds * float64(len(m.shares[rank]))
}

func (m *Machine) computed(ev Computed) []Effect {
	if ev.Step != m.holding.Applied || ev.Attempt != m.attempt || ev.MicroBatch != m.doing {
		return nil
	}
	m.holding.Partial = append(m.holding.Partial, m.doing)
	m.doing = None
	if early := m.early; early != nil {
		m.early = nil
		return m.reduced(*early)
	}
	return m.proceed()
}

// answered takes over what was given, or settles for what this rank has.
func (m *Machine) answered(ev Answered) []Effect {
	if !m.asking || !m.current(Computing, ev.Step, ev.Attempt) {
		return nil
	}
	m.asking = false
	if ev.MicroBatch == None {
		m.settled = true
	} else {
		m.queue = append(m.queue, ev.MicroBatch)
	}
	return m.proceed()
}

// claimed gives the last micro-batch that is not begun to another rank, when that one would have it
// done before this one. Given ones are in no other's hands: this rank told nobody of them yet.
func (m *Machine) claimed(ev Claim) []Effect {
	late := ev.Rest + float64(len(m.queue))*ev.Each
	if len(m.queue) == 0 || m.failure != nil || ev.Done >= late || !m.current(Computing, ev.Step, ev.Attempt) {
		return []Effect{Give{ID: ev.ID, Rank: ev.Rank, MicroBatch: None}}
	}
	last := len(m.queue) - 1
	give := Give{ID: ev.ID, Rank: ev.Rank, MicroBatch: m.queue[last]}
	m.queue, m.settled = m.queue[:last], true
	return append([]Effect{give}, m.proceed()...)
}

// dropped ends the generation: a part of a micro-batch cannot stay in the sums.
func (m *Machine) dropped(ev Dropped) []Effect {
	if ev.Step != m.holding.Applied || ev.Attempt != m.attempt || ev.MicroBatch != m.doing {
		return nil
	}
	m.doing = None
	if ev.Torn {
		m.holding.Partial = nil
	}
	return m.failed(ev.Err)
}

// failed ends the generation. A micro-batch under way is finished first, so that it is not lost.
func (m *Machine) failed(err error) []Effect {
	if m.doing != None {
		m.failure = err
		return nil
	}
	return m.end(err)
}

// ending waits for the micro-batch under way; all else is given up.
func (m *Machine) ending(ev Event) []Effect {
	switch ev := ev.(type) {
	case Computed:
		if ev.MicroBatch == m.doing {
			m.holding.Partial = append(m.holding.Partial, m.doing)
			m.doing = None
			return m.end(m.failure)
		}
	case Dropped:
		if ev.MicroBatch == m.doing {
			m.doing = None
			if ev.Torn {
				m.holding.Partial = nil
			}
			return m.end(m.failure)
		}
	}
	return nil
}

// end ends the generation by a failure. Partial sums of a repeated attempt have exponents that other
// ranks may not have raised: they go, so that whoever is in the next ring begins the step alike.
func (m *Machine) end(err error) []Effect {
	var effects []Effect
	if m.attempt > 0 && (m.state == Computing || m.state == Exchanging || m.state == Reducing) {
		effects = append(effects, Revert{})
		m.holding.Partial = nil
	}
	step := m.holding.Applied
	if m.void {
		m.holding.Partial = nil
	}
	if m.lost {
		m.holding = Holding{}
	}
	return append(effects, m.finish(Finish{Step: step, Err: err})...)
}
