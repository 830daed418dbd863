package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// shuffle is a table of byte numbers for VPSHUFB; 0x80 gives a zero.
func shuffle(name string, bytes []int) Mem {
	m := GLOBL(name, RODATA|NOPTR)
	for i, b := range bytes {
		DATA(i, U8(b))
	}
	return m
}

const none = 0x80

// tables of packing into 24 and 12 bits. The late ones are for the last load of a turn, 4 bytes earlier.
var tables struct{ pack24, open24, open24late, pack12, open12, open12late, shift12 Mem }

func makeTables() {
	pack24, open24 := []int{}, []int{}
	for e := range 4 {
		pack24 = append(pack24, 4*e, 4*e+1, 4*e+2)
		open24 = append(open24, none, 3*e, 3*e+1, 3*e+2)
	}
	tables.pack24 = shuffle("pack24table", append(pack24, none, none, none, none))
	tables.open24 = shuffle("open24table", open24)
	tables.open24late = shuffle("open24late", later(open24))
	var pack12, open12 []int
	for range 2 {
		pack12 = append(pack12, 0, 1, 2, 8, 9, 10)
		for range 10 {
			pack12 = append(pack12, none)
		}
	}
	for e := range 8 {
		at := e/2*3 + e%2
		open12 = append(open12, none, none, at, at+1)
	}
	tables.pack12 = shuffle("pack12table", pack12)
	tables.open12 = shuffle("open12table", open12)
	tables.open12late = shuffle("open12late", later(open12))
	m := GLOBL("shift12table", RODATA|NOPTR)
	for i := range 8 {
		DATA(4*i, U32(uint32(4*(1-i%2))))
	}
	tables.shift12 = m
}

func later(table []int) []int {
	out := make([]int, len(table))
	for i, b := range table {
		out[i] = b
		if b != none {
			out[i] += 4
		}
	}
	return out
}

// pack24 writes 3 bytes an element, 4 elements a store; stores overlap, but for the last of a turn.
func pack24(s set) {
	function("pack24x"+s.suffix, "func(b *byte, v *int32, n int) uint32", "computes b = v, the low 24 bits, and returns 0 exactly when all fit. n is a multiple of 32 and not 0.")
	begin("b", "v")
	table := reg.X15
	VMOVDQU(tables.pack24, table)
	VPXOR(reg.X0, reg.X0, reg.X0)
	loop(group, nil, func() {
		for i := range group / 4 {
			x, t := xs[1+i%4], xs[5+i%4]
			VMOVDQU(at(second, 16*i), x)
			VPSLLD(U8(8), x, t)
			VPSRAD(U8(8), t, t)
			VPXOR(x, t, t)
			VPOR(t, reg.X0, reg.X0)
			VPSHUFB(table, x, x)
			if i < group/4-1 {
				VMOVDQU(x, at(first, 12*i))
			} else {
				VMOVQ(x, at(first, 12*i))
				VPEXTRD(U8(2), x, at(first, 12*i+8))
			}
		}
		ADDQ(U32(3*group), first)
		ADDQ(U32(4*group), second)
	})
	(set{bytes: 16}).fold128(func(a, b, d Op) { VPOR(a, b, d) })
	end()
}

// fold128 is fold for a vector of 128 bits.
func (s set) fold128(op func(a, b, d Op)) {
	for _, order := range []uint8{0x4e, 0xb1} {
		VPSHUFD(U8(order), reg.X0, reg.X1)
		op(reg.X1, reg.X0, reg.X0)
	}
	MOVD(reg.X0, reg.EAX)
	Store(reg.EAX, ReturnIndex(0))
}

// open24 reads 3 bytes an element, and adds own where that is given.
func open24(s set, add bool) {
	dst, own, b := opening(s, "24", add)
	table, late := reg.X15, reg.X14
	VMOVDQU(tables.open24, table)
	VMOVDQU(tables.open24late, late)
	loop(group, nil, func() {
		for i := range group / 4 {
			x := xs[i%8]
			if i < group/4-1 {
				VMOVDQU(at(b, 12*i), x)
				VPSHUFB(table, x, x)
			} else {
				VMOVDQU(at(b, 12*i-4), x)
				VPSHUFB(late, x, x)
			}
			VPSRAD(U8(8), x, x)
			if add {
				VPADDD(at(own, 16*i), x, x)
			}
			VMOVDQU(x, at(dst, 16*i))
		}
		opened(dst, own, b, add, 3*group)
	})
	end()
}

// opening begins add24x, add12x, open24x or open12x.
func opening(s set, width string, add bool) (dst, own, b reg.GPPhysical) {
	if add {
		function("add"+width+"x"+s.suffix, "func(dst, own *int32, b *byte, n int)", "computes dst = own + b, b integers of "+width+" bits. n is a multiple of 32 and not 0.")
		begin("dst", "own", "b")
		return first, second, third
	}
	function("open"+width+"x"+s.suffix, "func(dst *int32, b *byte, n int)", "computes dst = b, b integers of "+width+" bits. n is a multiple of 32 and not 0.")
	begin("dst", "b")
	return first, third, second
}

func opened(dst, own, b reg.GPPhysical, add bool, bytes uint32) {
	ADDQ(U32(4*group), dst)
	if add {
		ADDQ(U32(4*group), own)
	}
	ADDQ(U32(bytes), b)
}

// pack12 writes 3 bytes for two elements, 4 elements a store.
func pack12(s set) {
	function("pack12x"+s.suffix, "func(b *byte, v *int32, n int) uint32", "computes b = v, the low 12 bits, and returns 0 exactly when all fit. n is a multiple of 32 and not 0.")
	begin("b", "v")
	table, mask := reg.Y15, reg.Y14
	VMOVDQU(tables.pack12, table)
	broadcast32(0xfff, mask, reg.X14)
	VPXOR(reg.Y0, reg.Y0, reg.Y0)
	loop(group, nil, func() {
		for i := range group / 8 {
			y, t := ys[1+i], ys[5+i]
			VMOVDQU(at(second, 32*i), y)
			VPSLLD(U8(20), y, t)
			VPSRAD(U8(20), t, t)
			VPXOR(y, t, t)
			VPOR(t, reg.Y0, reg.Y0)
			VPAND(mask, y, y)
			VPSRLQ(U8(20), y, t)
			VPOR(t, y, y)
			VPSHUFB(table, y, y)
			VEXTRACTI128(U8(1), y, xs[5+i])
			VMOVQ(xs[1+i], at(first, 12*i))
			if i < group/8-1 {
				VMOVQ(xs[5+i], at(first, 12*i+6))
			} else {
				VMOVD(xs[5+i], at(first, 12*i+6))
				VPEXTRW(U8(2), xs[5+i], at(first, 12*i+10))
			}
		}
		ADDQ(U32(3*group/2), first)
		ADDQ(U32(4*group), second)
	})
	(set{bytes: 32}).fold(func(a, b, d Op) { VPOR(a, b, d) })
	end()
}

// open12 reads 3 bytes for two elements, and adds own where that is given.
func open12(s set, add bool) {
	dst, own, b := opening(s, "12", add)
	table, late, shift := reg.Y15, reg.Y14, reg.Y13
	VMOVDQU(tables.open12, table)
	VMOVDQU(tables.open12late, late)
	VMOVDQU(tables.shift12, shift)
	loop(group, nil, func() {
		for i := range group / 8 {
			y := ys[i]
			if i < group/8-1 {
				VBROADCASTI128(at(b, 12*i), y)
				VPSHUFB(table, y, y)
			} else {
				VBROADCASTI128(at(b, 12*i-4), y)
				VPSHUFB(late, y, y)
			}
			VPSLLVD(shift, y, y)
			VPSRAD(U8(20), y, y)
			if add {
				VPADDD(at(own, 32*i), y, y)
			}
			VMOVDQU(y, at(dst, 32*i))
		}
		opened(dst, own, b, add, 3*group/2)
	})
	end()
}
