package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// heads are attention's passes for heads of few channels: 16 queries in the lanes, with their numbers in registers, and one
// key after the other, read where it lies. Each sum is the chain that the tiles compute.
func heads() {
	for _, dim := range []int{4, 8, 16} {
		h := head{dim: dim}
		h.scores()
		h.weigh()
		h.grad()
	}
}

type head struct{ dim int }

// panelRow is the bytes from one channel of a panel of queries to the next.
const panelRow = 128

// The registers of the passes: sums of dim channels from 0 on, temporary ones, and constants.
const (
	headS, headDP, headE, headT    = 24, 25, 26, 27
	headShift, headDot             = 28, 29
	headLow, headMagic, headFactor = 30, 31, 23
)

func (h head) name(pass string) string { return fmt.Sprintf("%s%d", pass, h.dim) }

func (h head) channels(panel reg.GPPhysical, first int) {
	for c := range h.dim {
		VMOVUPS(Mem{Base: panel, Disp: panelRow * c}, zs[first+c])
	}
}

// dot puts Σ row[c]·panel[c] into zs[d]: the panel is in registers from first on, or in memory where first is negative.
func (h head) dot(row, panel reg.GPPhysical, first, d int) {
	VPXORD(zs[d], zs[d], zs[d])
	for c := range h.dim {
		if first >= 0 {
			VFMADD231PS_BCST(Mem{Base: row, Disp: 4 * c}, zs[first+c], zs[d])
			continue
		}
		factor := zs[headFactor-c%4]
		VBROADCASTSS(Mem{Base: row, Disp: 4 * c}, factor)
		VFMADD231PS(Mem{Base: panel, Disp: panelRow * c}, factor, zs[d])
	}
}

// exp2 puts 2^zs[headS] into zs[headE] as vectors.exp2 does.
func (h head) exp2() {
	s, e, t, n := zs[headS], zs[headE], zs[headT], zs[headFactor]
	VMAXPS(s, zs[headLow], s)
	VADDPS(zs[headMagic], s, t)
	VSUBPS(zs[headMagic], t, n)
	VSUBPS(n, s, s)
	VPSLLD(U8(23), t, t)
	VMOVUPS(inMemory(exp2Coefficients[0]), e)
	for _, k := range exp2Coefficients[1:] {
		VFMADD213PS(inMemory(k), s, e)
	}
	VMULPS(t, e, e)
}

// start fetches sums from acc, or clears them.
func (h head) start(acc, flag reg.GPPhysical, first int) {
	TESTQ(flag, flag)
	JZ(LabelRef("zero"))
	h.channels(acc, first)
	JMP(LabelRef("begin"))
	Label("zero")
	for c := range h.dim {
		VPXORD(zs[first+c], zs[first+c], zs[first+c])
	}
	Label("begin")
	VMOVUPS(inMemory(exp2Low), zs[headLow])
	VMOVUPS(inMemory(exp2Shift), zs[headMagic])
}

func (h head) finish(acc reg.GPPhysical, first int) {
	for c := range h.dim {
		VMOVUPS(zs[first+c], Mem{Base: acc, Disp: panelRow * c})
	}
	VZEROUPPER()
	RET()
}

// scores: the panel is in registers from 0 on.
func (h head) scores() {
	function(h.name("headScores"), "func(keys, q, s, largest *float32, rows, ld int)",
		"computes s = K·Qᵀ for rows of keys, ld bytes apart, by 16 queries of a panel, and largest = max(largest, s) by query.")
	keys, q, s, largest, rows, ld := reg.RDI, reg.RSI, reg.RBX, reg.R8, reg.RCX, reg.RDX
	load([]string{"keys", "q", "s", "largest", "rows", "ld"}, keys, q, s, largest, rows, ld)
	h.channels(q, 0)
	VMOVUPS(Mem{Base: largest}, zs[headShift])
	Label("key")
	h.dot(keys, q, 0, headS)
	VMOVUPS(zs[headS], Mem{Base: s})
	VMAXPS(zs[headS], zs[headShift], zs[headShift])
	ADDQ(ld, keys)
	ADDQ(U8(panelRow), s)
	DECQ(rows)
	JNZ(LabelRef("key"))
	VMOVUPS(zs[headShift], Mem{Base: largest})
	VZEROUPPER()
	RET()
}

func (h head) weigh() {
	function(h.name("headWeigh"), "func(values, s, shift, total, acc *float32, rows, ld, load int)",
		"computes p = 2^(s − shift), total = Σ p and acc = Σ p·V, or adds to acc, for rows of values, ld bytes apart, by 16 queries of a panel.")
	values, s, shift, total, acc, rows, ld, flag := reg.RDI, reg.RSI, reg.RBX, reg.R8, reg.R9, reg.RCX, reg.RDX, reg.R10
	load([]string{"values", "s", "shift", "total", "acc", "rows", "ld", "load"}, values, s, shift, total, acc, rows, ld, flag)
	h.start(acc, flag, 0)
	VMOVUPS(Mem{Base: shift}, zs[headShift])
	VPXORD(zs[headDot], zs[headDot], zs[headDot])
	Label("key")
	VMOVUPS(Mem{Base: s}, zs[headS])
	VSUBPS(zs[headShift], zs[headS], zs[headS])
	h.exp2()
	VADDPS(zs[headE], zs[headDot], zs[headDot])
	for c := range h.dim {
		VFMADD231PS_BCST(Mem{Base: values, Disp: 4 * c}, zs[headE], zs[c])
	}
	ADDQ(ld, values)
	ADDQ(U8(panelRow), s)
	DECQ(rows)
	JNZ(LabelRef("key"))
	VMOVUPS(zs[headDot], Mem{Base: total})
	h.finish(acc, 0)
}

// grad: sums are in registers from 0 on, the panels after them where there is room.
func (h head) grad() {
	function(h.name("headGrad"), "func(keys, values, q, do, shift, dot, p, ds, acc *float32, rows, ld, stride, load int)",
		"computes p = 2^(K·Qᵀ − shift), ds = p·(V·dOᵀ − dot) and acc = Σ ds·K, or adds to acc, for rows of keys and values, ld bytes\n"+
			"apart, by 16 queries of a panel. Rows of p and ds are stride bytes apart.")
	keys, values, q, do, p, ds, acc := reg.RDI, reg.RSI, reg.RBX, reg.R8, reg.R9, reg.R10, reg.R11
	rows, ld, stride, flag := reg.RCX, reg.RDX, reg.R12, reg.R13
	load([]string{"keys", "values", "q", "do", "p", "ds", "acc", "rows", "ld", "stride", "load"}, keys, values, q, do, p, ds, acc, rows, ld, stride, flag)
	Load(Param("shift"), reg.RAX)
	VMOVUPS(Mem{Base: reg.RAX}, zs[headShift])
	Load(Param("dot"), reg.RAX)
	VMOVUPS(Mem{Base: reg.RAX}, zs[headDot])
	h.start(acc, flag, 0)
	first, second := h.dim, -1
	if 2*h.dim <= 19 {
		h.channels(q, first)
	} else {
		first = -1
	}
	if 3*h.dim <= 19 {
		second = 2 * h.dim
		h.channels(do, second)
	}
	Label("key")
	h.dot(keys, q, first, headS)
	h.dot(values, do, second, headDP)
	VSUBPS(zs[headShift], zs[headS], zs[headS])
	h.exp2()
	VMOVUPS(zs[headE], Mem{Base: p})
	VSUBPS(zs[headDot], zs[headDP], zs[headDP])
	VMULPS(zs[headE], zs[headDP], zs[headDP])
	VMOVUPS(zs[headDP], Mem{Base: ds})
	for c := range h.dim {
		VFMADD231PS_BCST(Mem{Base: keys, Disp: 4 * c}, zs[headDP], zs[c])
	}
	ADDQ(ld, keys)
	ADDQ(ld, values)
	ADDQ(stride, p)
	ADDQ(stride, ds)
	DECQ(rows)
	JNZ(LabelRef("key"))
	h.finish(acc, 0)
}
