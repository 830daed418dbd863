package rendezvous

import (
	"fmt"
	"slices"

	"yohaku/internal/epoch"
)

// Generation names one ring: the epoch grows whenever a coordinator starts or takes a run over, the
// number with every ring of the run.
type Generation struct{ Epoch, Number uint64 }

// Before tells whether g is older than h.
func (g Generation) Before(h Generation) bool {
	return g.Epoch < h.Epoch || g.Epoch == h.Epoch && g.Number < h.Number
}

// String gives epoch and number.
func (g Generation) String() string { return fmt.Sprintf("%s.%d", epoch.String(g.Epoch), g.Number) }

// Standing is what a worker answers to whoever wants the run: whom it belongs to, and what it has
// accepted.
type Standing struct {
	Node        string
	Coordinator string     // Who holds it.
	Alive       bool       // It has a route to that one.
	Highest     Generation // That it accepted.
	Ranks       []string   // Nodes of the last generation that it was in, by rank.
}

// Record is what the run folder says of the run.
type Record struct {
	Generation Generation // The last one minted; zero before the first start.
	Ranks      []string   // Its nodes, by rank.
}

// HeldError says that a living coordinator has the run. The caller ends, or fences it on request.
type HeldError struct {
	Coordinator string
	Epoch       uint64
	Node        string // Who says so.
}

func (e *HeldError) Error() string {
	return fmt.Sprintf("worker %s is held by the living coordinator %s of epoch %s: stop that one first, or fence it off with --takeover", e.Node, e.Coordinator, epoch.String(e.Epoch))
}

// MinorityError refuses to take a run over from a living coordinator with too few of its ranks.
type MinorityError struct {
	Generation     Generation
	Reached, World int
}

func (e *MinorityError) Error() string {
	return fmt.Sprintf("--takeover reaches %d of the %d ranks of generation %v, and needs more than half: the others may go on without this coordinator; mend the network, or add --force", e.Reached, e.World, e.Generation)
}

// Claim decides whether a coordinator may own the run, by its record and by what the workers that
// it reaches say. The epoch of the generation that it returns is above all that were heard
// of, and by its tag the coordinator's own; its rings' numbers come after the returned one. It returns *HeldError when a
// living coordinator has the run and takeover is not asked for, and *MinorityError when too few
// ranks were reached for that and force is not either.
func Claim(r Record, heard []Standing, tag uint64, takeover, force bool) (Generation, error) {
	last, ranks := r.Generation, r.Ranks
	highest, number := last.Epoch, last.Number
	var held *HeldError
	for _, s := range heard {
		highest, number = max(highest, s.Highest.Epoch), max(number, s.Highest.Number)
		if last.Before(s.Highest) && len(s.Ranks) > 0 {
			last, ranks = s.Highest, s.Ranks
		}
		if s.Alive && (held == nil || s.Highest.Epoch > held.Epoch) {
			held = &HeldError{Coordinator: s.Coordinator, Epoch: s.Highest.Epoch, Node: s.Node}
		}
	}
	if held != nil && !takeover {
		return Generation{}, held
	}
	if takeover && !force && held != nil {
		reached := 0
		for _, s := range heard {
			if slices.Contains(ranks, s.Node) {
				reached++
			}
		}
		if 2*reached <= len(ranks) {
			return Generation{}, &MinorityError{Generation: last, Reached: reached, World: len(ranks)}
		}
	}
	return Generation{Epoch: epoch.Next(highest, tag), Number: number}, nil
}
