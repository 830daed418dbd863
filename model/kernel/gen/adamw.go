package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

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
	factorInverse
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
	VMULPS(p.factor(factorInverse, 6), v[2], v[2])
	VADDPS(p.factor(factorEps, 6), v[2], v[2])
	VDIVPS(v[2], v[1], v[1])
	VMULPS(p.factor(factorRate, 6), v[1], v[1])
	p.load("p", 3)
	VMULPS(p.factor(factorKeep, 6), v[3], v[3])
	VSUBPS(v[1], v[3], v[3])
	p.store(3, "p")
}
