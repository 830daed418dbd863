package sim

import (
	"cmp"
	"errors"
	"maps"
	"slices"
	"time"

	"yohaku/internal/assignment"
	"yohaku/worker/lifecycle"
)

var (
	errAborted = errors.New("another rank gave up")
	errSilent  = errors.New("a rank fell silent")
)

// silence is how long a rank waits for one that is gone.
const silence = 5 * time.Second

// ring is the collective operations of one generation.
type ring struct {
	s          *cluster
	members    []*worker // By rank.
	gone       []bool    // By rank: it has closed the ring.
	ops        map[opKey]*operation
	void       map[position]bool
	deliveries []*delivery
}

type position struct{ step, attempt int }

type opKey struct {
	position
	kind string
}

type operation struct {
	parts   []any // By rank; nil until it is there.
	waiting []func(any, error)
}

// delivery is the outcome of an operation on its way to one rank.
type delivery struct{ lost bool }

func (s *cluster) ring(generation lifecycle.Generation, names []string) *ring {
	r := s.rings[generation]
	if r == nil {
		r = &ring{s: s, gone: make([]bool, len(names)), ops: map[opKey]*operation{}, void: map[position]bool{}}
		for _, n := range names {
			r.members = append(r.members, s.worker(n))
		}
		s.rings[generation] = r
	}
	for rank, n := range names {
		if len(names) != len(r.members) || r.members[rank].name != n {
			s.broken("two rings of generation %v", generation)
			break
		}
	}
	return r
}

func (s *cluster) sortedRings() []*ring {
	var all []*ring
	for _, g := range slices.SortedFunc(maps.Keys(s.rings), func(a, b lifecycle.Generation) int {
		return cmp.Or(cmp.Compare(a.Epoch, b.Epoch), cmp.Compare(a.Number, b.Number))
	}) {
		all = append(all, s.rings[g])
	}
	return all
}

func (r *ring) rankOf(w *worker) int { return slices.Index(r.members, w) }

// join has a rank take part; then hears of the parts of all, or of the failure, once.
func (r *ring) join(rank int, key opKey, part any, then func(parts any, err error)) {
	w := r.members[rank]
	if r.void[key.position] {
		w.at(time.Millisecond, func() { then(nil, errAborted) })
		return
	}
	op := r.ops[key]
	if op == nil {
		op = &operation{parts: make([]any, len(r.members)), waiting: make([]func(any, error), len(r.members))}
		r.ops[key] = op
	}
	op.waiting[rank] = then
	r.watch(rank, op)
	if part != nil {
		r.bring(rank, key, part)
	}
}

// bring adds what a rank that has joined has to give.
func (r *ring) bring(rank int, key opKey, part any) {
	op := r.ops[key]
	if op == nil || op.waiting[rank] == nil {
		return // It was void before it began here, or is now.
	}
	op.parts[rank] = part
	if !slices.Contains(op.parts, nil) {
		r.deliver(op)
		r.killWithin(key.kind)
	}
}

// deliver sends the outcome to every rank, each in its own time.
func (r *ring) deliver(op *operation) {
	r.deliveries = slices.DeleteFunc(r.deliveries, func(d *delivery) bool { return d.lost })
	for rank, w := range r.members {
		d := &delivery{}
		if (w.cut || w.dead) && len(r.members) > 1 || r.cutBefore(rank) && r.s.chance(0.5) {
			d.lost = true
		}
		r.deliveries = append(r.deliveries, d)
		w.at(r.takes(), func() {
			then := op.waiting[rank]
			if d.lost || then == nil {
				return
			}
			d.lost = true // Delivered: nothing is left to lose.
			op.waiting[rank] = nil
			then(slices.Clone(op.parts), nil)
		})
	}
}

// takes is the time from the last part to one rank's outcome.
func (r *ring) takes() time.Duration {
	if f := r.s.OperationTime; f != nil {
		return f(len(r.members))
	}
	return r.s.between(time.Millisecond, 25*time.Millisecond)
}

// cutBefore tells whether the previous rank cannot pass anything on.
func (r *ring) cutBefore(rank int) bool {
	prev := r.members[(rank+len(r.members)-1)%len(r.members)]
	return prev.cut || prev.dead
}

// watch fails the operation at a rank when one of the ring has been gone for long.
func (r *ring) watch(rank int, op *operation) {
	r.members[rank].at(silence, func() {
		then := op.waiting[rank]
		if then == nil {
			return
		}
		for other, w := range r.members {
			if w.dead || w.frozen || w.cut || r.gone[other] || r.members[rank].cut {
				op.waiting[rank] = nil
				then(nil, errSilent)
				return
			}
		}
		for _, d := range r.deliveries {
			if d.lost { // A chunk is missing, which the beats show.
				op.waiting[rank] = nil
				then(nil, errSilent)
				return
			}
		}
		r.watch(rank, op)
	})
}

// abort has the others give up what they do at the position.
func (r *ring) abort(at position) {
	r.void[at] = true
	keys := slices.SortedFunc(maps.Keys(r.ops), func(a, b opKey) int {
		return cmp.Or(cmp.Compare(a.step, b.step), cmp.Compare(a.attempt, b.attempt), cmp.Compare(a.kind, b.kind))
	})
	for _, key := range keys {
		if key.position != at {
			continue
		}
		op := r.ops[key]
		for rank, w := range r.members {
			if w.cut {
				continue
			}
			w.at(r.s.between(time.Millisecond, 30*time.Millisecond), func() {
				if then := op.waiting[rank]; then != nil {
					op.waiting[rank] = nil
					then(nil, errAborted)
				}
			})
		}
	}
}

// exchanged makes the event of gathered words.
func (r *ring) exchanged(e lifecycle.Exchange, parts []any) lifecycle.Exchanged {
	ev := lifecycle.Exchanged{Step: e.Step, Attempt: e.Attempt}
	for _, p := range parts {
		w := p.(*word)
		ev.Shares, ev.Seconds = append(ev.Shares, w.microBatches), append(ev.Seconds, w.seconds)
		ev.Pause, ev.Save = ev.Pause || w.pause, ev.Save || w.save
	}
	err := assignment.Check(r.s.MicroBatches, ev.Shares)
	if err != nil && !slices.ContainsFunc(r.members, func(w *worker) bool { return w.dead }) { // One that is may have given a micro-batch away, and nobody heard.
		r.s.broken("step %d attempt %d: %v, though all live that could have given it", e.Step, e.Attempt, err)
	}
	return ev
}
