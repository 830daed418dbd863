package compile

import (
	"fmt"
	"slices"
	"time"

	"yohaku/internal/bytesize"
	"yohaku/model/op"
)

// MemoryLimitError says that no program fits: with everything computed again that can be, the temporaries still need
// Least bytes. The caller raises the limit, or makes the micro-batch smaller.
type MemoryLimitError struct{ Limit, Least int64 }

func (e *MemoryLimitError) Error() string {
	return fmt.Sprintf("the program needs at least %s for its temporaries, and the limit leaves %s: %s too much; raise the memory limit, or make the micro-batch or the pictures smaller",
		bytesize.Format(e.Least), bytesize.Format(e.Limit), bytesize.Format(e.Least-e.Limit))
}

// rematerialization decides which results of the forward pass are computed again when the backward pass first needs
// them, in place of being kept. The instructions are the same, so the bits are too.
type rematerialization struct {
	p     *program
	first int             // The first backward instruction.
	maker []*instruction  // Storage → what makes it as result 0, nil for other results and leaves.
	saved map[int]bool    // Storages of the forward pass that the backward pass reads.
	again map[int]bool    // Those of saved to compute again.
	cost  []time.Duration // Storage → estimate of its maker's time.
	plan  func(*program) *memory

	budget time.Duration // Of what is computed again altogether; 0 is no bound.
}

// rematerialize returns the program as it is when its slab fits into limit elements, else one that computes results
// again, as little as it finds enough; a MemoryLimitError when none fits. plan lays out a program's buffers.
func rematerialize(p *program, limit int, plan func(*program) *memory) (*program, error) {
	m := plan(p)
	if place(m.buffers) <= limit {
		return p, nil
	}
	r := newRematerialization(p, plan)
	// Where the placement leaves gaps, what lives at a time must be less than the limit.
	for target := limit; r.reduce(m, target); {
		made := r.spare(target)
		m = plan(made)
		slab := place(m.buffers)
		if slab <= limit {
			return made, nil
		}
		target = min(target, m.live) - (slab - limit)
		m = plan(r.build())
	}
	made := r.build()
	if slab := place(plan(made).buffers); slab > limit {
		return nil, &MemoryLimitError{Limit: 4 * int64(limit), Least: 4 * int64(slab)}
	}
	return made, nil
}

// thrift returns a program that lives in less memory, down to target elements, for at most that share of p's estimated time.
func thrift(p *program, share float64, target int, plan func(*program) *memory) *program {
	r := newRematerialization(p, plan)
	r.budget = time.Duration(share * float64(total(p, func(*instruction) bool { return true })))
	r.reduce(plan(p), target)
	return r.spare(max(target, plan(r.build()).live))
}

// total is the estimated time of the instructions that which selects.
func total(p *program, which func(*instruction) bool) (t time.Duration) {
	for _, c := range p.code {
		if which(c) {
			t += p.estimate(c)
		}
	}
	return t
}

// reduce computes more results again until no more than target elements live at a time, and reports whether they do. It
// stays within the budget.
func (r *rematerialization) reduce(m *memory, target int) bool {
	banned := map[int]bool{}
	for m.live > target {
		next := r.next(r.build(), m, banned)
		if next < 0 {
			return false
		}
		r.again[next] = true
		made := r.build()
		tried := r.plan(made)
		if tried.live > m.live || r.budget > 0 && total(made, func(c *instruction) bool { return c.again }) > r.budget {
			delete(r.again, next)
			banned[next] = true
			continue
		}
		m = tried
	}
	return true
}

func newRematerialization(p *program, plan func(*program) *memory) *rematerialization {
	r := &rematerialization{p: p, plan: plan, first: len(p.code), maker: make([]*instruction, len(p.storages)), cost: make([]time.Duration, len(p.storages)),
		saved: map[int]bool{}, again: map[int]bool{}}
	for i, c := range p.code {
		if c.backward {
			r.first = i
			break
		}
		id := p.values[c.results[0]].storage
		r.maker[id], r.cost[id] = c, p.estimate(c)
	}
	for _, c := range p.code[r.first:] {
		for _, v := range c.operands {
			if id := p.values[v].storage; r.maker[id] != nil && p.storages[id].kind == temporary {
				r.saved[id] = true
			}
		}
	}
	return r
}

// next is the storage to compute again next: among those that only wait where most memory is live, the one whose bytes
// cost least time. −1 when there is none.
func (r *rematerialization) next(now *program, m *memory, banned map[int]bool) int {
	best, bestRate := -1, 0.0
	waiting := now.waitingAt(m.busiest)
	for _, id := range waiting {
		if !r.saved[id] || r.again[id] || banned[id] {
			continue
		}
		t, ok := r.chain(id, map[int]bool{})
		if rate := float64(r.p.storages[id].size) / float64(max(t, 1)); ok && rate > bestRate {
			best, bestRate = id, rate
		}
	}
	return best
}

// waitingAt lists the storages that are made before instruction i and read after it, but not by it.
func (p *program) waitingAt(i int) []int {
	made, used := make([]int, len(p.storages)), make([]int, len(p.storages))
	for id := range made {
		made[id], used[id] = len(p.code), -1
	}
	for j, c := range p.code {
		for _, v := range c.results {
			if v >= 0 {
				made[p.values[v].storage] = min(made[p.values[v].storage], j)
			}
		}
		for _, v := range c.operands {
			used[p.values[v].storage] = j
		}
	}
	for _, v := range p.code[i].operands {
		used[p.values[v].storage] = -1
	}
	var r []int
	for id := range made {
		if made[id] < i && used[id] > i {
			r = append(r, id)
		}
	}
	return r
}

// chain is the time to compute id again from what is kept. What is computed again anyway counts as there.
func (r *rematerialization) chain(id int, seen map[int]bool) (time.Duration, bool) {
	if seen[id] {
		return 0, true
	}
	seen[id] = true
	if r.maker[id] == nil {
		return 0, false
	}
	total := r.cost[id]
	for _, v := range r.maker[id].operands {
		from := r.p.values[v].storage
		if r.there(from) || r.again[from] {
			continue
		}
		t, ok := r.chain(from, seen)
		if !ok {
			return 0, false
		}
		total += t
	}
	return total, true
}

// there says whether a storage can be read in the backward pass without computing it again.
func (r *rematerialization) there(id int) bool {
	return r.p.storages[id].kind != temporary || r.saved[id] && !r.again[id] || r.maker[id] == nil && r.readLate(id)
}

// readLate says whether the backward pass reads a storage that is no result 0.
func (r *rematerialization) readLate(id int) bool {
	for _, c := range r.p.code[r.first:] {
		for _, v := range c.operands {
			if r.p.values[v].storage == id {
				return true
			}
		}
	}
	return false
}

// build makes the program. A result is made again right before the first backward instruction that reads it.
func (r *rematerialization) build() *program {
	p := &program{values: slices.Clone(r.p.values), storages: slices.Clone(r.p.storages), outputs: r.p.outputs, grads: r.p.grads}
	p.code = append(p.code, r.p.code[:r.first]...)
	b := &rebuilding{r: r, p: p, copies: map[int]int{}}
	for _, c := range r.p.code[r.first:] {
		p.code = append(p.code, b.reads(c))
	}
	return p
}

type rebuilding struct {
	r      *rematerialization
	p      *program
	copies map[int]int // Storage → the storage it was made again in.
}

// reads is c reading the copies of what is not kept, which it makes first if need be.
func (b *rebuilding) reads(c *instruction) *instruction {
	changed := c
	for i, v := range c.operands {
		id := b.p.values[v].storage
		if b.r.maker[id] == nil || b.r.there(id) {
			continue
		}
		if changed == c {
			clone := *c
			clone.operands = slices.Clone(c.operands)
			changed = &clone
		}
		changed.operands[i] = b.again(v)
	}
	return changed
}

// again is value v made again.
func (b *rebuilding) again(v int) int {
	old := b.p.values[v]
	id, ok := b.copies[old.storage]
	if !ok {
		made := *b.r.maker[old.storage]
		made.again = true
		made.results = slices.Repeat([]int{-1}, len(made.results))
		reading := b.reads(&made)
		if reading == &made {
			reading.operands = slices.Clone(made.operands)
		}
		s := b.p.storages[old.storage]
		s.buffer = -1
		b.p.storages = append(b.p.storages, s)
		id = len(b.p.storages) - 1
		b.copies[old.storage] = id
		b.p.values = append(b.p.values, value{storage: id, shape: made.shapes[0]})
		reading.results[0] = len(b.p.values) - 1
		b.p.code = append(b.p.code, reading)
	}
	b.p.values = append(b.p.values, value{storage: id, shape: old.shape})
	return len(b.p.values) - 1
}

// spare keeps again what turned out not to be needed, the dearest first, and returns the program.
func (r *rematerialization) spare(target int) *program {
	chosen := make([]int, 0, len(r.again))
	for id := range r.again {
		chosen = append(chosen, id)
	}
	slices.SortFunc(chosen, func(a, b int) int {
		if r.cost[a] != r.cost[b] {
			return int(r.cost[b] - r.cost[a])
		}
		return a - b
	})
	for _, id := range chosen {
		delete(r.again, id)
		if r.plan(r.build()).live > target {
			r.again[id] = true
		}
	}
	return r.build()
}

// Rates of the estimates, on two cores of the year 2023; only their ratios matter.
const (
	productRate = 180   // Operations in a nanosecond.
	exponents   = 4.5   // Of attention's softmax, in a nanosecond.
	streamRate  = 25    // Bytes in a nanosecond.
	startCost   = 2_000 // Nanoseconds.
)

// estimate is what an instruction may take.
func (p *program) estimate(c *instruction) time.Duration {
	in := p.operandShapes(c)
	t := startCost + float64(op.FLOPs(unwrap(c.def), in, c.shapes))/productRate
	bytes := 0
	for _, s := range append(in, c.shapes[0]) {
		bytes += 4 * s.TotalSize()
	}
	if a, ok := unwrap(c.def).(op.Attention); ok {
		t += float64(in[0][0]*a.Heads) * float64(in[0][1]) * float64(in[1][1]) / exponents
	}
	return time.Duration(t + float64(bytes)/streamRate)
}
