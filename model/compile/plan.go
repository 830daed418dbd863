package compile

import (
	"sort"

	"yohaku/model/backend"
)

// alignment is the grid of offsets, in elements: two cache lines, so that kernels that split at
// 128 bytes never share a line.
const alignment = 32

// buffer is a piece of the slab, used by the instructions first…last.
type buffer struct {
	size, offset int // Elements.
	first, last  int
}

// memory is the plan of the slab.
type memory struct {
	buffers []buffer
	scratch []int // Buffer of each instruction's scratch, or −1.
	slab    int   // Elements.
	live    int   // Largest sum of live buffers: no plan can be smaller.
	busiest int   // The instruction at which that much is live.
}

func align(n int) int { return (n + alignment - 1) / alignment * alignment }

// planMemory decides which results overwrite an operand, and places every temporary and scratch.
func planMemory(p *program, share bool) *memory {
	m := layBuffers(p, share)
	m.slab = place(m.buffers)
	return m
}

// layBuffers is planMemory without the places.
func layBuffers(p *program, share bool) *memory {
	for i := range p.storages {
		p.storages[i].buffer = -1
	}
	m := &memory{scratch: make([]int, len(p.code))}
	last := lastUses(p)
	for i, c := range p.code {
		for j, v := range c.results {
			if v < 0 || p.store(v).kind != temporary {
				continue
			}
			s := p.store(v)
			if j == 0 && share {
				s.buffer = m.takeOver(p, c, c.kernel, i, last)
			}
			if s.buffer >= 0 {
				m.buffers[s.buffer].last = last[p.values[v].storage]
				continue
			}
			s.buffer = m.add(s.size, i, last[p.values[v].storage])
		}
		m.scratch[i] = -1
		if n := c.kernel.Scratch; n > 0 {
			m.scratch[i] = m.add(n, i, i)
		}
	}
	m.live, m.busiest = liveBound(m.buffers, len(p.code))
	return m
}

func (m *memory) add(size, first, last int) int {
	m.buffers = append(m.buffers, buffer{size: align(size), first: first, last: last})
	return len(m.buffers) - 1
}

// lastUses is, for each storage, the last instruction that reads or makes it.
func lastUses(p *program) []int {
	last := make([]int, len(p.storages))
	for i, c := range p.code {
		for _, v := range append(append([]int(nil), c.operands...), c.results...) {
			if v >= 0 {
				last[p.values[v].storage] = i
			}
		}
	}
	return last
}

// takeOver returns the buffer of an operand that instruction i may overwrite: a temporary of the
// same size that is read here for the last time, under one name only. −1 when there is none.
func (m *memory) takeOver(p *program, c *instruction, k backend.Kernel, i int, last []int) int {
	for _, j := range k.InPlace {
		id := p.values[c.operands[j]].storage
		s := &p.storages[id]
		if s.kind != temporary || last[id] != i || align(s.size) != align(p.store(c.results[0]).size) {
			continue
		}
		uses := 0
		for _, v := range c.operands {
			if p.values[v].storage == id {
				uses++
			}
		}
		if uses == 1 && m.buffers[s.buffer].last == i {
			return s.buffer
		}
	}
	return -1
}

func liveBound(buffers []buffer, instructions int) (most, at int) {
	change := make([]int, instructions+1)
	for _, b := range buffers {
		change[b.first] += b.size
		change[b.last+1] -= b.size
	}
	now := 0
	for i, c := range change {
		if now += c; now > most {
			most, at = now, i
		}
	}
	return most, at
}

// place gives each buffer its offset: the largest first, each into the smallest gap that fits between
// those placed that live at the same time. It returns the size of the slab.
func place(buffers []buffer) int {
	order := make([]int, len(buffers))
	for i := range order {
		order[i] = i
	}
	sort.Slice(order, func(x, y int) bool {
		a, b := buffers[order[x]], buffers[order[y]]
		if a.size != b.size {
			return a.size > b.size
		}
		return order[x] < order[y]
	})
	var placed []int // Sorted by offset.
	slab := 0
	for _, i := range order {
		b := &buffers[i]
		b.offset = bestGap(buffers, placed, b)
		at := sort.Search(len(placed), func(k int) bool { return buffers[placed[k]].offset >= b.offset })
		placed = append(placed, 0)
		copy(placed[at+1:], placed[at:])
		placed[at] = i
		slab = max(slab, b.offset+b.size)
	}
	return slab
}

func bestGap(buffers []buffer, placed []int, b *buffer) int {
	end, best, bestSize := 0, -1, int(^uint(0)>>1)
	for _, j := range placed {
		q := &buffers[j]
		if q.last < b.first || q.first > b.last {
			continue
		}
		if gap := q.offset - end; gap >= b.size && gap < bestSize {
			best, bestSize = end, gap
		}
		end = max(end, q.offset+q.size)
	}
	if best < 0 {
		return end
	}
	return best
}
