package main

import (
	"encoding/binary"

	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The instructions of AVX512-BF16, which neither avo nor Go's assembler knows.

// evex emits an instruction on 512-bit registers of the map 0F38 without mask: dst, src1 and src2 are register numbers, pp
// is 2 for the prefix F3 and 3 for F2.
func evex(pp, opcode byte, dst, src1, src2 int) {
	inverted := func(n, bit int) byte { return byte(^n >> bit & 1) }
	bytes := []byte{
		0x62,
		inverted(dst, 3)<<7 | inverted(src2, 4)<<6 | inverted(src2, 3)<<5 | inverted(dst, 4)<<4 | 2,
		byte(^src1&15)<<3 | 1<<2 | pp,
		2<<5 | inverted(src1, 4)<<3,
		opcode,
		3<<6 | byte(dst&7)<<3 | byte(src2&7),
	}
	Instruction(&ir.Instruction{Opcode: "LONG", Operands: []Op{U32(binary.LittleEndian.Uint32(bytes))}})
	Instruction(&ir.Instruction{Opcode: "WORD", Operands: []Op{U16(binary.LittleEndian.Uint16(bytes[4:]))}})
}

// dotPairs adds to each lane of zs[sum] the products of the two bf16 of zs[a] and zs[b]: the odd one first, each by a fused
// multiply-add (VDPBF16PS).
func dotPairs(a, b, sum int) { evex(2, 0x52, sum, a, b) }

// roundTwo puts the 16 numbers of zs[low] as bf16 into the lower half of zs[dst], and those of zs[high] into the upper
// (VCVTNE2PS2BF16).
func roundTwo(high, low, dst int) { evex(3, 0x72, dst, high, low) }

// roundOne puts the 16 numbers of zs[src] as bf16 into the lower half of zs[dst] (VCVTNEPS2BF16).
func roundOne(src, dst int) { evex(2, 0x72, dst, 0, src) }

// halves are the packers to pairs of bf16 and the conversions.
func halves() {
	interleave := GLOBL("interleave", attr.RODATA|attr.NOPTR)
	for i := range 32 {
		DATA(2*i, U16(16*(i%2)+i/2))
	}
	transposeHalf16()
	copyPairs(interleave)
	copyPairsHalf(interleave)
	toHalf()
	fromHalf()
}

// transposeHalf16 transposes blocks of 16 rows by 16 pairs.
func transposeHalf16() {
	function("transposeHalf16", "func(dst *float32, rows **float32, k, dstStep int, write uint64)",
		"writes dst[p][r] = rows[r][2p] and rows[r][2p+1] as bf16 for 16 rows and 2p < k, only where bit r of write is set.\n"+
			"A last number alone is paired with 0. dstStep is in bytes; k is at least 1.")
	rows, offset := reg.RSI, reg.R9
	load([]string{"dst", "rows", "k", "dstStep", "write"}, packDst, rows, packK, packDstStep, reg.RAX)
	KMOVW(reg.EAX, reg.K3)
	XORQ(offset, offset)
	Label("loop")
	MOVL(U32(0xffffffff), reg.EAX)
	CMPQ(packK, U8(32))
	JGE(LabelRef("full"))
	MOVL(U32(1), reg.EAX)
	SHLL(reg.CL, reg.EAX)
	DECL(reg.EAX)
	Label("full")
	KMOVW(reg.EAX, reg.K1)
	SHRL(U8(16), reg.EAX)
	KMOVW(reg.EAX, reg.K2)
	for i := range 16 {
		row := []reg.GPPhysical{reg.RDX, reg.RBX, reg.R10, reg.R11}[i%4]
		MOVQ(Mem{Base: rows, Disp: 8 * i}, row)
		VMOVUPS_Z(Mem{Base: row, Index: offset, Scale: 1}, reg.K1, zs[16+i%8])
		VMOVUPS_Z(Mem{Base: row, Index: offset, Scale: 1, Disp: 64}, reg.K2, zs[24+i%8])
		roundTwo(24+i%8, 16+i%8, i)
	}
	shuffle16()
	ADDQ(U32(128), offset)
	for i := range 16 {
		VMOVUPS(zs[i], reg.K3, Mem{Base: packDst})
		ADDQ(packDstStep, packDst)
		SUBQ(U8(2), packK)
		JLE(LabelRef("done"))
	}
	JMP(LabelRef("loop"))
	Label("done")
	VZEROUPPER()
	RET()
}

// copyPairs packs float32 whose k goes along rows of memory.
func copyPairs(interleave Mem) {
	function("copyPairs", "func(dst, src *float32, k, dstStep, srcStep int, read, write uint64)",
		"writes dst[p][i] = src[2p][i] and src[2p+1][i] as bf16 for 2p < k and the columns in write, 0 for those not in read.\n"+
			"A last row alone is paired with 0. Steps are in bytes; k is at least 1.")
	load([]string{"dst", "src", "k", "dstStep", "srcStep"}, packDst, packSrc, packK, packDstStep, packSrcStep)
	Load(Param("read"), reg.RAX)
	KMOVW(reg.EAX, reg.K1)
	SHRQ(U8(16), reg.RAX)
	KMOVW(reg.EAX, reg.K2)
	writeMasks()
	VMOVUPS(interleave, reg.Z31)
	pairLoop(func(odd bool) {
		for j, k := range []Op{reg.K1, reg.K2} {
			VMOVUPS_Z(Mem{Base: packSrc, Disp: 64 * j}, k, zs[2*j])
			if odd {
				VMOVUPS_Z(Mem{Base: packSrc, Index: packSrcStep, Scale: 1, Disp: 64 * j}, k, zs[2*j+1])
			} else {
				VPXORD(zs[2*j+1], zs[2*j+1], zs[2*j+1])
			}
			roundTwo(2*j+1, 2*j, 4+j)
		}
	})
}

// copyPairsHalf packs bf16 whose k goes along rows of memory.
func copyPairsHalf(interleave Mem) {
	function("copyPairsHalf", "func(dst *float32, src *uint16, k, dstStep, srcStep int, read, write uint64)",
		"is copyPairs of numbers that are bf16 already.")
	load([]string{"dst", "src", "k", "dstStep", "srcStep"}, packDst, packSrc, packK, packDstStep, packSrcStep)
	Load(Param("read"), reg.RAX)
	KMOVD(reg.EAX, reg.K1)
	writeMasks()
	VMOVUPS(interleave, reg.Z31)
	pairLoop(func(odd bool) {
		VMOVDQU16_Z(Mem{Base: packSrc}, reg.K1, reg.Z0)
		if odd {
			VMOVDQU16_Z(Mem{Base: packSrc, Index: packSrcStep, Scale: 1}, reg.K1, reg.Z1)
		} else {
			VPXORD(reg.Z1, reg.Z1, reg.Z1)
		}
		VINSERTI64X4(U8(1), reg.Y1, reg.Z0, reg.Z4)
		VSHUFI64X2(U8(0xee), reg.Z1, reg.Z0, reg.Z5)
	})
}

// writeMasks puts the parameter write into K3 and K4.
func writeMasks() {
	Load(Param("write"), reg.RAX)
	KMOVW(reg.EAX, reg.K3)
	SHRQ(U8(16), reg.RAX)
	KMOVW(reg.EAX, reg.K4)
}

// pairLoop goes over pairs of rows: pair puts 16 numbers of both into each of Z4 and Z5.
func pairLoop(pair func(odd bool)) {
	for _, odd := range []bool{true, false} {
		label := map[bool]string{true: "pair", false: "single"}[odd]
		if odd {
			Label(label)
			CMPQ(packK, U8(2))
			JL(LabelRef("rest"))
		} else {
			Label("rest")
			TESTQ(packK, packK)
			JZ(LabelRef("done"))
		}
		pair(odd)
		for j := range 2 {
			VPERMW(zs[4+j], reg.Z31, zs[4+j])
			VMOVUPS(zs[4+j], []Op{reg.K3, reg.K4}[j], Mem{Base: packDst, Disp: 64 * j})
		}
		if odd {
			LEAQ(Mem{Base: packSrc, Index: packSrcStep, Scale: 2}, packSrc)
			ADDQ(packDstStep, packDst)
			SUBQ(U8(2), packK)
			JMP(LabelRef(label))
		}
	}
	Label("done")
	VZEROUPPER()
	RET()
}

// conversion walks n elements in groups of 16; body does those in mask K1.
func conversion(name, signature, doc string, body func()) {
	function(name, signature, doc)
	load([]string{"dst", "src", "n"}, packDst, packSrc, packK)
	MOVL(U32(0xffff), reg.EAX)
	KMOVW(reg.EAX, reg.K1)
	Label("loop")
	CMPQ(packK, U8(16))
	JGE(LabelRef("whole"))
	TESTQ(packK, packK)
	JZ(LabelRef("done"))
	MOVL(U32(1), reg.EAX)
	SHLL(reg.CL, reg.EAX)
	DECL(reg.EAX)
	KMOVW(reg.EAX, reg.K1)
	MOVQ(U32(16), packK)
	Label("whole")
	body()
	SUBQ(U8(16), packK)
	JMP(LabelRef("loop"))
	Label("done")
	VZEROUPPER()
	RET()
}

func toHalf() {
	conversion("toHalf", "func(dst *uint16, src *float32, n int)", "rounds n numbers to bf16; see toHalfGeneric.", func() {
		VMOVUPS_Z(Mem{Base: packSrc}, reg.K1, reg.Z1)
		roundOne(1, 0)
		VMOVDQU16(reg.Y0, reg.K1, Mem{Base: packDst})
		ADDQ(U8(64), packSrc)
		ADDQ(U8(32), packDst)
	})
}

func fromHalf() {
	conversion("fromHalf", "func(dst *float32, src *uint16, n int)", "widens n bf16; see fromHalfGeneric.", func() {
		VMOVDQU16_Z(Mem{Base: packSrc}, reg.K1, reg.Y0)
		VPMOVZXWD(reg.Y0, reg.Z0)
		VPSLLD(U8(16), reg.Z0, reg.Z0)
		VMOVUPS(reg.Z0, reg.K1, Mem{Base: packDst})
		ADDQ(U8(32), packSrc)
		ADDQ(U8(64), packDst)
	})
}
