package rendezvous

import (
	"fmt"
	"slices"
)

func (m *Machine) joined(ev Joined) []Effect {
	if m.find(ev.Node) != nil {
		return nil
	}
	m.members = append(m.members, &member{name: ev.Node, holding: ev.Holding, since: m.generation})
	if !m.ready {
		return nil
	}
	if m.idle() {
		return m.form()
	}
	return m.prepareFree()
}

// prepareFree has members prepare for the places that are free in the ring.
func (m *Machine) prepareFree() []Effect {
	var effects []Effect
	free := m.c.MicroBatches - len(m.nodes)
	for _, n := range m.members {
		if slices.Contains(m.nodes, n.name) || n.unfit || n.leaving || m.stopping {
			continue
		}
		if m.live == nil && n.holding.Loaded {
			continue // The next generation may need what it has.
		}
		if free--; free < 0 {
			break // More ranks than micro-batches: it stands by.
		}
		if !n.preparing && !n.prepared {
			n.preparing, n.holding = true, Holding{} // It prepares from nothing, and what it held is stale.
			effects = append(effects, Prepare{n.name})
		}
	}
	return effects
}

func (m *Machine) prepared(ev Prepared) []Effect {
	n := m.find(ev.Node)
	if n == nil || !n.preparing {
		return nil
	}
	n.preparing, n.prepared = false, ev.Err == nil
	n.following = ev.Following && m.live != nil
	switch {
	case ev.Err != nil:
		n.unfit, m.unfit = true, fmt.Errorf("worker %s: %w", n.name, ev.Err)
		return nil
	case m.live == nil:
		return m.form()
	case len(m.nodes) < m.c.MicroBatches:
		return m.pause(false)
	}
	return nil
}

// pause asks the live generation to end at the next boundary, once for each kind.
func (m *Machine) pause(save bool) []Effect {
	e := &m.ended
	if m.live == nil || e.called || e.saving || e.paused && !save {
		return nil
	}
	e.paused, e.saving = true, save
	return []Effect{Pause{Generation: m.generation, Save: save}}
}

func (m *Machine) left(node string) []Effect {
	if m.find(node) == nil {
		return nil
	}
	m.members = slices.DeleteFunc(m.members, func(n *member) bool { return n.name == node })
	switch {
	case m.live[node]:
		delete(m.live, node)
		m.failures = 0 // The fault left with the node.
		return m.fail(fmt.Errorf("worker %s is gone", node))
	case m.donor == node:
		m.donor = ""
		return m.form()
	case m.idle():
		return m.form()
	}
	return nil
}

// leaving lets a member go, at the next step boundary if it is in the ring.
func (m *Machine) leaving(node string) []Effect {
	n := m.find(node)
	if n == nil {
		return []Effect{Release{node}}
	}
	if n.leaving {
		return nil
	}
	n.leaving = true
	switch {
	case m.live != nil && (m.live[node] || n.holding.Loaded):
		return m.pause(m.allLeave())
	case m.idle() && m.ready:
		return m.form()
	case m.donor == node:
		return nil // It goes when that is done.
	}
	return m.release(n)
}

// allLeave: nobody stays to whom the state could be handed over.
func (m *Machine) allLeave() bool {
	return !slices.ContainsFunc(m.members, func(n *member) bool { return !n.leaving && !n.unfit })
}

func (m *Machine) release(n *member) []Effect {
	m.members = slices.DeleteFunc(m.members, func(other *member) bool { return other == n })
	return []Effect{Release{n.name}}
}
