package main

import (
	"slices"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func u8(n uint8) Constant { return U8(n) }

// columnKernel is a function that sums down the columns of rows×n elements: for each group of columns it walks all rows.
type columnKernel struct {
	name, doc string
	streams   []string // Pointers to the rows, stride in bytes.
	channels  []string // Pointers to n elements: read before the walk, or written after it.
	totals    []string // Pointers to n float64, written after the walk.
	constants []float32
	before    func(p part)
	row       func(p part)
	after     func(p part)
}

func (k columnKernel) emit(s *vectors) {
	sig := "func("
	regs := map[string]reg.GPPhysical{}
	names := slices.Concat(k.streams, k.channels, k.totals)
	for _, name := range names {
		if slices.Contains(k.totals, name) {
			sig += name + " *float64, "
		} else {
			sig += name + " *float32, "
		}
	}
	function(k.name+s.suffix, sig+"rows, n, stride int)", k.doc)
	for i, name := range names {
		regs[name] = pointerRegs[i]
		Load(Param(name), pointerRegs[i])
	}
	Load(Param("n"), reg.RDX)
	s.partialMask(reg.RDX)
	if len(k.totals) > 0 {
		s.doubleMask()
	}
	s.keep(k.constants...)
	left, stride, rows := reg.RDX, reg.R13, reg.RCX
	Load(Param("stride"), stride)
	XORQ(index, index)
	for _, partial := range []bool{false, true} {
		label := map[bool]string{false: "whole", true: "partial"}[partial]
		Label(label)
		if partial {
			TESTQ(left, left)
			JZ(LabelRef("done"))
		} else {
			CMPQ(left, U8(group))
			JL(LabelRef("partial"))
		}
		k.walk(s, regs, partial, label+"Row", rows, stride)
		if partial {
			break
		}
		ADDQ(U8(4*group), index)
		SUBQ(U8(group), left)
		JMP(LabelRef(label))
	}
	Label("done")
	VZEROUPPER()
	RET()
}

// walk sums one group of columns. The row pointers are moved and set back.
func (k columnKernel) walk(s *vectors, regs map[string]reg.GPPhysical, partial bool, label string, rows, stride reg.GPPhysical) {
	for i := range s.parts {
		k.before(part{s, i, partial, regs})
	}
	Load(Param("rows"), rows)
	Label(label)
	for i := range s.parts {
		k.row(part{s, i, partial, regs})
	}
	for _, name := range k.streams {
		ADDQ(stride, regs[name])
	}
	DECQ(rows)
	JNZ(LabelRef(label))
	for i := range s.parts {
		k.after(part{s, i, partial, regs})
	}
	for _, name := range k.streams {
		Load(Param(name), regs[name])
	}
}

// total is the register of half of the float64 sum j of this part.
func (p part) total(j, half int) int { return 4 + 4*p.number + 2*j + half }

// sums is a columnKernel in float64: add adds half a vector to the totals.
func (k columnKernel) sums(s *vectors, add func(p part, half int)) {
	k.before = func(p part) {
		for j := range k.totals {
			p.zero(p.total(j, 0))
			p.zero(p.total(j, 1))
		}
	}
	k.row = func(p part) {
		add(p, 0)
		add(p, 1)
	}
	k.after = func(p part) {
		for j, name := range k.totals {
			p.storeDouble(p.total(j, 0), name, 0, 0)
			p.storeDouble(p.total(j, 1), name, 1, 0)
		}
	}
	k.emit(s)
}

// columnSums: products of two float32 are exact in float64, so that a fused multiply-add is one rounded addition.
func columnSums(s *vectors) {
	columnKernel{name: "columnSums", doc: "computes sum = Σ x, by column, rows in ascending order.",
		streams: []string{"x"}, totals: []string{"sum"},
	}.sums(s, func(p part, half int) {
		p.loadWide("x", half, 0)
		VADDPD(p.v[0], p.v[p.total(0, half)], p.v[p.total(0, half)])
	})
	columnKernel{name: "columnSquares", doc: "computes sum = Σ x and square = Σ x², by column, rows in ascending order.",
		streams: []string{"x"}, totals: []string{"sum", "square"},
	}.sums(s, func(p part, half int) {
		p.loadWide("x", half, 0)
		VADDPD(p.v[0], p.v[p.total(0, half)], p.v[p.total(0, half)])
		VFMADD231PD(p.v[0], p.v[0], p.v[p.total(1, half)])
	})
	columnKernel{name: "columnProducts", doc: "computes sum = Σ dy and product = Σ dy·x, by column, rows in ascending order.",
		streams: []string{"dy", "x"}, totals: []string{"sum", "product"},
	}.sums(s, func(p part, half int) {
		p.loadWide("dy", half, 0)
		p.loadWide("x", half, 1)
		VADDPD(p.v[0], p.v[p.total(0, half)], p.v[p.total(0, half)])
		VFMADD231PD(p.v[1], p.v[0], p.v[p.total(1, half)])
	})
}

func columnDots(s *vectors) {
	columnKernel{name: "columnDots", doc: "computes dot = Σ a·b, by column, rows in ascending order, each product rounded.",
		streams: []string{"a", "b"}, channels: []string{"dot"},
		before: func(p part) { p.zero(8 + p.number) },
		after:  func(p part) { p.store(8+p.number, "dot") },
		row: func(p part) {
			p.load("a", 0)
			p.load("b", 1)
			VMULPS(p.v[1], p.v[0], p.v[0])
			VADDPS(p.v[0], p.v[8+p.number], p.v[8+p.number])
		}}.emit(s)
}

func columnSoftmax(s *vectors) {
	columnKernel{name: "columnMax", doc: "computes first = max(first, x), by column.",
		streams: []string{"x"}, channels: []string{"first"},
		before: func(p part) { p.load("first", 8+p.number) },
		after:  func(p part) { p.store(8+p.number, "first") },
		row: func(p part) {
			p.load("x", 0)
			VMAXPS(p.v[0], p.v[8+p.number], p.v[8+p.number])
		}}.emit(s)
	columnKernel{name: "columnExp", doc: "computes x = 2^(x − shift) and total = Σ x, by column, rows in ascending order.",
		streams: []string{"x"}, channels: []string{"shift", "total"}, constants: exp2Constants,
		before: func(p part) { p.zero(8 + p.number) },
		after:  func(p part) { p.store(8+p.number, "total") },
		row: func(p part) {
			p.load("x", 0)
			p.load("shift", 1)
			VSUBPS(p.v[1], p.v[0], p.v[0])
			p.exp2(0, 1, 2)
			VADDPS(p.v[1], p.v[8+p.number], p.v[8+p.number])
			p.store(1, "x")
		}}.emit(s)
}
