package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The registers of the packers.
var packDst, packSrc, packK, packDstStep, packSrcStep = reg.RDI, reg.RSI, reg.RCX, reg.R8, reg.R9

func pack512() {
	copyRows512()
	transpose16()
}

func pack256() {
	copyRows16()
	copyRows6()
	transpose8()
}

// copyRows512 copies up to 32 columns under masks.
func copyRows512() {
	function("copyRows512", "func(dst, src *float32, k, dstStep, srcStep int, read, write uint64)",
		"copies k rows of up to 32 columns: those in read are copied, the others in write become 0. Steps are in bytes.")
	load([]string{"dst", "src", "k", "dstStep", "srcStep"}, packDst, packSrc, packK, packDstStep, packSrcStep)
	Load(Param("read"), reg.RAX)
	KMOVW(reg.EAX, reg.K1)
	SHRQ(U8(16), reg.RAX)
	KMOVW(reg.EAX, reg.K2)
	Load(Param("write"), reg.RAX)
	KMOVW(reg.EAX, reg.K3)
	SHRQ(U8(16), reg.RAX)
	KMOVW(reg.EAX, reg.K4)
	TESTQ(packK, packK)
	JZ(LabelRef("done"))
	TESTQ(reg.RAX, reg.RAX)
	JZ(LabelRef("narrow"))
	copyLoop("wide", []Op{reg.K1, reg.K2}, []Op{reg.K3, reg.K4})
	JMP(LabelRef("done"))
	copyLoop("narrow", []Op{reg.K1}, []Op{reg.K3})
	Label("done")
	VZEROUPPER()
	RET()
}

func copyLoop(label string, read, write []Op) {
	Label(label)
	for j, k := range read {
		VMOVUPS_Z(Mem{Base: packSrc, Disp: 64 * j}, k, zs[j])
	}
	for j, k := range write {
		VMOVUPS(zs[j], k, Mem{Base: packDst, Disp: 64 * j})
	}
	nextRow(label)
}

func nextRow(label string) {
	ADDQ(packSrcStep, packSrc)
	ADDQ(packDstStep, packDst)
	DECQ(packK)
	JNZ(LabelRef(label))
}

func copyRows16() {
	function("copyRows16", "func(dst, src *float32, k, dstStep, srcStep int)", "copies k rows of 16 columns. Steps are in bytes; k is at least 1.")
	load([]string{"dst", "src", "k", "dstStep", "srcStep"}, packDst, packSrc, packK, packDstStep, packSrcStep)
	Label("loop")
	VMOVUPS(Mem{Base: packSrc}, reg.Y0)
	VMOVUPS(Mem{Base: packSrc, Disp: 32}, reg.Y1)
	VMOVUPS(reg.Y0, Mem{Base: packDst})
	VMOVUPS(reg.Y1, Mem{Base: packDst, Disp: 32})
	nextRow("loop")
	VZEROUPPER()
	RET()
}

func copyRows6() {
	function("copyRows6", "func(dst, src *float32, k, dstStep, srcStep int)", "copies k rows of 6 columns. Steps are in bytes; k is at least 1.")
	load([]string{"dst", "src", "k", "dstStep", "srcStep"}, packDst, packSrc, packK, packDstStep, packSrcStep)
	Label("loop")
	VMOVUPS(Mem{Base: packSrc}, reg.X0)
	MOVQ(Mem{Base: packSrc, Disp: 16}, reg.RAX)
	VMOVUPS(reg.X0, Mem{Base: packDst})
	MOVQ(reg.RAX, Mem{Base: packDst, Disp: 16})
	nextRow("loop")
	RET()
}

// transpose16 transposes blocks of 16 by 16.
func transpose16() {
	function("transpose16", "func(dst *float32, rows **float32, k, dstStep int, write uint64)",
		"writes dst[c][r] = rows[r][c] for 16 rows and c < k, only where bit r of write is set. dstStep is in bytes.")
	rows, offset := reg.RSI, reg.R9
	load([]string{"dst", "rows", "k", "dstStep", "write"}, packDst, rows, packK, packDstStep, reg.RAX)
	KMOVW(reg.EAX, reg.K3)
	XORQ(offset, offset)
	TESTQ(packK, packK)
	JZ(LabelRef("done"))
	Label("loop")
	MOVL(U32(0xffff), reg.EAX)
	CMPQ(packK, U8(16))
	JGE(LabelRef("full"))
	MOVL(U32(1), reg.EAX)
	SHLL(reg.CL, reg.EAX)
	DECL(reg.EAX)
	Label("full")
	KMOVW(reg.EAX, reg.K1)
	for i := range 16 {
		row := []reg.GPPhysical{reg.RDX, reg.RBX, reg.R10, reg.R11}[i%4]
		MOVQ(Mem{Base: rows, Disp: 8 * i}, row)
		VMOVUPS_Z(Mem{Base: row, Index: offset, Scale: 1}, reg.K1, zs[i])
	}
	shuffle16()
	CMPQ(packK, U8(16))
	JL(LabelRef("part"))
	for i := range 16 {
		VMOVUPS(zs[i], reg.K3, Mem{Base: packDst})
		ADDQ(packDstStep, packDst)
	}
	ADDQ(U8(64), offset)
	SUBQ(U8(16), packK)
	JNZ(LabelRef("loop"))
	JMP(LabelRef("done"))
	Label("part")
	for i := range 15 {
		VMOVUPS(zs[i], reg.K3, Mem{Base: packDst})
		ADDQ(packDstStep, packDst)
		DECQ(packK)
		JZ(LabelRef("done"))
	}
	Label("done")
	VZEROUPPER()
	RET()
}

// shuffle16 transposes Z0 to Z15 in place; it uses all registers.
func shuffle16() {
	for i := range 8 {
		VUNPCKLPS(zs[2*i+1], zs[2*i], zs[16+2*i])
		VUNPCKHPS(zs[2*i+1], zs[2*i], zs[16+2*i+1])
	}
	// Afterwards lane L of zs[4i+c] holds rows 4i to 4i+3 of column 4L+c.
	for i := range 4 {
		b := 16 + 4*i
		VUNPCKLPD(zs[b+2], zs[b], zs[4*i])
		VUNPCKHPD(zs[b+2], zs[b], zs[4*i+1])
		VUNPCKLPD(zs[b+3], zs[b+1], zs[4*i+2])
		VUNPCKHPD(zs[b+3], zs[b+1], zs[4*i+3])
	}
	for c := range 4 {
		VSHUFF32X4(U8(0x88), zs[4+c], zs[c], zs[16+c])
		VSHUFF32X4(U8(0xdd), zs[4+c], zs[c], zs[20+c])
		VSHUFF32X4(U8(0x88), zs[12+c], zs[8+c], zs[24+c])
		VSHUFF32X4(U8(0xdd), zs[12+c], zs[8+c], zs[28+c])
	}
	for c := range 4 {
		VSHUFF32X4(U8(0x88), zs[24+c], zs[16+c], zs[c])
		VSHUFF32X4(U8(0x88), zs[28+c], zs[20+c], zs[4+c])
		VSHUFF32X4(U8(0xdd), zs[24+c], zs[16+c], zs[8+c])
		VSHUFF32X4(U8(0xdd), zs[28+c], zs[20+c], zs[12+c])
	}
}

// transpose8 transposes blocks of 8 by 8.
func transpose8() {
	function("transpose8", "func(dst *float32, rows **float32, blocks, dstStep int)",
		"writes dst[c][r] = rows[r][c] for 8 rows and c < 8·blocks, in ascending c. dstStep is in bytes; blocks is at least 1.")
	rows, offset := reg.RSI, reg.R9
	load([]string{"dst", "rows", "blocks", "dstStep"}, packDst, rows, packK, packDstStep)
	XORQ(offset, offset)
	Label("loop")
	for i := range 8 {
		row := []reg.GPPhysical{reg.RDX, reg.RBX, reg.R10, reg.R11}[i%4]
		MOVQ(Mem{Base: rows, Disp: 8 * i}, row)
		VMOVUPS(Mem{Base: row, Index: offset, Scale: 1}, ys[i])
	}
	for i := range 4 {
		VUNPCKLPS(ys[2*i+1], ys[2*i], ys[8+2*i])
		VUNPCKHPS(ys[2*i+1], ys[2*i], ys[8+2*i+1])
	}
	for i := range 2 {
		b := 8 + 4*i
		VUNPCKLPD(ys[b+2], ys[b], ys[4*i])
		VUNPCKHPD(ys[b+2], ys[b], ys[4*i+1])
		VUNPCKLPD(ys[b+3], ys[b+1], ys[4*i+2])
		VUNPCKHPD(ys[b+3], ys[b+1], ys[4*i+3])
	}
	for c := range 4 {
		VPERM2F128(U8(0x20), ys[4+c], ys[c], ys[8+c])
		VPERM2F128(U8(0x31), ys[4+c], ys[c], ys[12+c])
	}
	for c := range 8 {
		VMOVUPS(ys[8+c], Mem{Base: packDst})
		ADDQ(packDstStep, packDst)
	}
	ADDQ(U8(32), offset)
	DECQ(packK)
	JNZ(LabelRef("loop"))
	VZEROUPPER()
	RET()
}
