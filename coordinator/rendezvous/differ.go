package rendezvous

import (
	"fmt"
	"slices"
)

// probation is the number of steps within which a member may not be wrong twice: bits flip now
// and then in good memory, but not as often as that.
const probation = 1000

// claim is what a member held when states differed and no majority told which was right.
type claim struct {
	step int
	Suspect
}

// differed forgets states that are not to be trusted. What is right stays where it is; when nobody
// knows, all states of the generation go, and the steps since the last checkpoint are computed again.
func (m *Machine) differed(ev Differed) []Effect {
	if ev.Generation != m.generation {
		return nil // Of a ring that is over.
	}
	before := m.nodes == nil // It was found before this machine formed a ring, and brought along.
	var effects []Effect
	for _, s := range ev.Wrong {
		n := m.find(s.Node)
		if n == nil || n.since == ev.Generation && !before || n.wrong == ev.Generation {
			continue // It is gone, has come back since with nothing, or another rank said so before.
		}
		if ev.Gradient == "" || len(m.nodes) > 1 {
			m.distrust(n)
		}
		n.wrong = ev.Generation
		m.ended.cured = m.live != nil
		effects = append(effects, m.putOut(s, ev.Step, ev.Gradient)...)
	}
	var open []Suspect
	for _, s := range ev.Undecided {
		n := m.find(s.Node)
		if n != nil && n.wrong == ev.Generation {
			continue
		}
		open = append(open, s)
		if ev.Gradient != "" {
			continue // The states are right.
		}
		m.donated = donation{}
		m.claims = append(m.claims, claim{ev.Step, s})
		if n != nil {
			m.distrust(n)
		}
	}
	if len(open) > 0 && (ev.Gradient == "" || !m.ended.told) {
		m.ended.cured, m.ended.told = false, true
		effects = append(effects, Undecided{Step: ev.Step, Suspects: open, Gradient: ev.Gradient})
	}
	return effects
}

// distrust forgets what a member holds, and has it come back as a joiner does.
func (m *Machine) distrust(n *member) {
	n.wrong, n.forgets, n.holding, n.prepared = m.generation, m.generation, Holding{}, false
}

// putOut notes that a member was wrong, and for good if it was before.
func (m *Machine) putOut(s Suspect, step int, gradient string) []Effect {
	last, before := m.faults[s.Node]
	m.faults[s.Node] = step
	final := before && step <= last+probation
	if n := m.find(s.Node); n != nil && final {
		n.unfit = true
		m.unfit = fmt.Errorf("worker %s was wrong at step %d and at step %d: its memory or processor is faulty; run without that machine", s.Node, last, step)
	}
	return []Effect{PutOut{Suspect: s, Gradient: gradient, Step: step, Final: final}}
}

// decide tells which claims were right, now that the steps up to there were computed again.
func (m *Machine) decide(step int, digest string) []Effect {
	var effects []Effect
	for _, c := range m.claims {
		if c.step == step && c.Digest != digest {
			c.Want = digest
			effects = append(effects, m.putOut(c.Suspect, step, "")...)
			if n := m.find(c.Node); n != nil && n.unfit && slices.Contains(m.nodes, c.Node) {
				effects = append(effects, m.pause(false)...)
			}
		}
	}
	m.claims = slices.DeleteFunc(m.claims, func(c claim) bool { return c.step <= step })
	return effects
}

// MostSaid is the report that most of the reports share the state of, the first of them; state names it. There must be
// a report.
func MostSaid[R any](reports []R, state func(R) string) R {
	votes := map[string]int{}
	best := reports[0]
	for _, r := range reports {
		votes[state(r)]++
	}
	for _, r := range reports {
		if votes[state(r)] > votes[state(best)] {
			best = r
		}
	}
	return best
}
