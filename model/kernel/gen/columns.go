package main

import (
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
	constants []float32
	before    func(p part)
	row       func(p part)
	after     func(p part)
}

func (k columnKernel) emit(s *vectors) {
	sig := "func("
	regs := map[string]reg.GPPhysical{}
	names := append(append([]string{}, k.streams...), k.channels...)
	for _, name := range names {
		sig += name + " *float32, "
	}
	function(k.name+s.suffix, sig+"rows, n, stride int)", k.doc)
	for i, name := range names {
		regs[name] = pointerRegs[i]
		Load(Param(name), pointerRegs[i])
	}
	Load(Param("n"), reg.RDX)
	s.partialMask(reg.RDX)
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

// The sums of part i are in registers 8+2i and 9+2i.
func sums(p part) (first, second int) { return 8 + 2*p.number, 9 + 2*p.number }

func clearPair(p part) {
	a, b := sums(p)
	p.zero(a)
	p.zero(b)
}

func storePair(p part) {
	a, b := sums(p)
	p.store(a, "first")
	p.store(b, "second")
}

func columnSums(s *vectors) {
	columnKernel{name: "columnSums", doc: "computes first = Σ x and second = Σ x², by column, rows in ascending order.",
		streams: []string{"x"}, channels: []string{"first", "second"}, before: clearPair, after: storePair,
		row: func(p part) {
			a, b := sums(p)
			p.load("x", 0)
			VADDPS(p.v[0], p.v[a], p.v[a])
			VMULPS(p.v[0], p.v[0], p.v[0])
			VADDPS(p.v[0], p.v[b], p.v[b])
		}}.emit(s)
}

// addGrad adds v[dh] and v[dh]·v[x] to the sums.
func (p part) addGrad(dh, x int) {
	a, b := sums(p)
	VADDPS(p.v[dh], p.v[a], p.v[a])
	VMULPS(p.v[x], p.v[dh], p.v[dh])
	VADDPS(p.v[dh], p.v[b], p.v[b])
}

func columnGrads(s *vectors) {
	columnKernel{name: "columnGrads", doc: "computes first = Σ dy and second = Σ dy·x, by column, rows in ascending order.",
		streams: []string{"x", "dy"}, channels: []string{"first", "second"}, before: clearPair, after: storePair,
		row: func(p part) {
			p.load("x", 0)
			p.load("dy", 1)
			p.addGrad(1, 0)
		}}.emit(s)
	columnKernel{name: "columnSiLUGrads", doc: "computes first = Σ dh and second = Σ dh·x, by column, rows in ascending order, for dh = dy·silu′(x·scale + shift).",
		streams: []string{"x", "dy"}, channels: []string{"scale", "shift", "first", "second"}, constants: expConstants, before: clearPair, after: storePair,
		row: func(p part) {
			p.affine(0, 5, 2)
			p.load("dy", 4)
			p.siluGrad(0, 4, 1, 2, 3)
			p.addGrad(4, 5)
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
	columnKernel{name: "columnExp", doc: "computes x = exp(x − shift) and total = Σ x, by column, rows in ascending order.",
		streams: []string{"x"}, channels: []string{"shift", "total"}, constants: expConstants,
		before: func(p part) { p.zero(8 + p.number) },
		after:  func(p part) { p.store(8+p.number, "total") },
		row: func(p part) {
			p.load("x", 0)
			p.load("shift", 1)
			VSUBPS(p.v[1], p.v[0], p.v[0])
			p.expFused(0, 1, 2)
			VADDPS(p.v[1], p.v[8+p.number], p.v[8+p.number])
			p.store(1, "x")
		}}.emit(s)
}

// adamW: see adamWGeneric, which this follows step by step.
func adamW(s *vectors) {
	kernel{name: "adamW", doc: "does one step of AdamW; see adamWGeneric.", streams: []string{"p", "grad", "m", "v"},
		channels: []string{"factors"}, setup: func(s *vectors) {
			for i := range adamWFactors {
				if s.bytes == 64 {
					VBROADCASTSS(Mem{Base: pointerRegs[4], Disp: 4 * i}, s.v[16+i])
				}
			}
		}, body: adamWBody}.emit(s)
}

// The fields of AdamWFactors, in order.
const (
	factorScale = iota
	factorToward
	factorBeta2
	factorRest
	factorRoot
	factorEps
	factorRate
	factorKeep
	adamWFactors
)

// factor puts factor i of AdamW into a register and returns it.
func (p part) factor(i, t int) Op {
	if p.bytes == 64 {
		return p.v[16+i]
	}
	VBROADCASTSS(Mem{Base: p.regs["factors"], Disp: 4 * i}, p.v[t])
	return p.v[t]
}

func adamWBody(p part) {
	v := p.v
	p.load("grad", 0)
	VMULPS(p.factor(factorScale, 6), v[0], v[0])
	p.load("m", 1)
	VSUBPS(v[1], v[0], v[2])
	VMULPS(p.factor(factorToward, 6), v[2], v[2])
	VADDPS(v[2], v[1], v[1])
	p.store(1, "m")
	p.load("v", 2)
	VMULPS(p.factor(factorBeta2, 6), v[2], v[2])
	VMULPS(v[0], v[0], v[0])
	VMULPS(p.factor(factorRest, 6), v[0], v[0])
	VADDPS(v[0], v[2], v[2])
	p.store(2, "v")
	VSQRTPS(v[2], v[2])
	VDIVPS(p.factor(factorRoot, 6), v[2], v[2])
	VADDPS(p.factor(factorEps, 6), v[2], v[2])
	VDIVPS(v[2], v[1], v[1])
	VMULPS(p.factor(factorRate, 6), v[1], v[1])
	p.load("p", 3)
	VMULPS(p.factor(factorKeep, 6), v[3], v[3])
	VSUBPS(v[1], v[3], v[3])
	p.store(3, "p")
}
