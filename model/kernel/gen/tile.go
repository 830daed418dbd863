package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

const tileDoc = "computes c[i][j] (+)= Σ_k a[k][i]·b[k][j] (+ bias[j]), each sum one chain of fused multiply-adds in ascending k.\n" +
	"ldc is in bytes; the sum starts at c when load is not 0; bias may be nil."

// tileShape is one micro-kernel: rows by one or two vectors, on panels of A that are panel rows wide and panels of B
// that are two vectors wide.
type tileShape struct {
	rows, panel int
	vectors     int
	vec         []reg.VecPhysical
	bytes       int  // Of a vector.
	masked      bool // Columns past the masks are left alone.
}

// The registers of a micro-kernel.
var (
	tileK, tileA, tileB, tileC, tileLD = reg.RAX, reg.RSI, reg.RBX, reg.RDI, reg.R8
	tileLoad, tileBias, tileRow        = reg.R10, reg.R12, reg.R11
)

func tiles512() {
	for rows := 1; rows <= 14; rows++ {
		s := tileShape{rows: rows, panel: 14, vectors: 2, vec: zs, bytes: 64, masked: true}
		s.emit(fmt.Sprintf("tile%dx32", rows))
		s.vectors = 1
		s.emit(fmt.Sprintf("tile%dx32narrow", rows))
	}
}

func tiles256() {
	for rows := 1; rows <= 6; rows++ {
		s := tileShape{rows: rows, panel: 6, vectors: 2, vec: ys, bytes: 32}
		s.emit(fmt.Sprintf("tile%dx16", rows))
	}
}

func (s tileShape) emit(name string) {
	if s.masked {
		function(name, "func(kc int, a, b, c *float32, ldc int, load int, bias *float32, mask uint64)", tileDoc+"\nOnly the columns whose bit is set in mask are read and written.")
		Load(Param("mask"), reg.R9)
		KMOVW(reg.R9L, reg.K1)
		SHRQ(U8(16), reg.R9)
		KMOVW(reg.R9L, reg.K2)
	} else {
		function(name, "func(kc int, a, b, c *float32, ldc int, load int, bias *float32)", tileDoc)
	}
	load([]string{"kc", "a", "b", "c", "ldc", "load", "bias"}, tileK, tileA, tileB, tileC, tileLD, tileLoad, tileBias)
	s.start()
	s.loop()
	s.finish()
	VZEROUPPER()
	RET()
}

func (s tileShape) sum(i, j int) Op { return s.vec[s.vectors*i+j] }

// b is the register of vector j of a row of B; factor is one for a broadcast element of A.
func (s tileShape) b(j int) Op { return s.vec[s.vectors*s.rows+j] }
func (s tileShape) factor(i int) Op {
	first := s.vectors * (s.rows + 1)
	return s.vec[first+i%(len(s.vec)-first)]
}

// eachRow calls f with the address of each row of c in turn.
func (s tileShape) eachRow(f func(i int, row func(j int) Mem)) {
	MOVQ(tileC, tileRow)
	for i := range s.rows {
		f(i, func(j int) Mem { return Mem{Base: tileRow, Disp: j * s.bytes} })
		if i+1 < s.rows {
			ADDQ(tileLD, tileRow)
		}
	}
}

func (s tileShape) read(m Mem, j int, dst Op) {
	if s.masked {
		VMOVUPS_Z(m, []Op{reg.K1, reg.K2}[j], dst)
		return
	}
	VMOVUPS(m, dst)
}

func (s tileShape) write(src Op, j int, m Mem) {
	if s.masked {
		VMOVUPS(src, []Op{reg.K1, reg.K2}[j], m)
		return
	}
	VMOVUPS(src, m)
}

// start sets the sums to c or to 0.
func (s tileShape) start() {
	s.eachRow(func(i int, row func(int) Mem) {
		PREFETCHT0(row(0))
		if s.bytes == 64 && s.vectors == 2 {
			PREFETCHT0(row(1))
		}
	})
	TESTQ(tileLoad, tileLoad)
	JZ(LabelRef("zero"))
	s.eachRow(func(i int, row func(int) Mem) {
		for j := range s.vectors {
			s.read(row(j), j, s.sum(i, j))
		}
	})
	JMP(LabelRef("begin"))
	Label("zero")
	for i := range s.rows {
		for j := range s.vectors {
			s.clear(s.sum(i, j))
		}
	}
	Label("begin")
}

func (s tileShape) clear(r Op) {
	if s.masked {
		VPXORD(r, r, r)
		return
	}
	VXORPS(r, r, r)
}

// step adds the products of row k+u of the panels.
func (s tileShape) step(u int, prefetch bool) {
	for j := range s.vectors {
		VMOVUPS(Mem{Base: tileB, Disp: (2*u + j) * s.bytes}, s.b(j))
	}
	if prefetch {
		PREFETCHT0(Mem{Base: tileB, Disp: 1024 + 2*u*s.bytes})
		if s.bytes == 64 && s.vectors == 2 {
			PREFETCHT0(Mem{Base: tileB, Disp: 1024 + (2*u+1)*s.bytes})
		}
		if s.bytes == 64 || u%2 == 0 {
			PREFETCHT0(Mem{Base: tileA, Disp: 512 + u*s.panel*4})
		}
	}
	for i := range s.rows {
		VBROADCASTSS(Mem{Base: tileA, Disp: (u*s.panel + i) * 4}, s.factor(i))
		for j := range s.vectors {
			VFMADD231PS(s.b(j), s.factor(i), s.sum(i, j))
		}
	}
}

func (s tileShape) loop() {
	const unroll = 4
	advance := func(n int) {
		ADDQ(U32(n*s.panel*4), tileA)
		ADDQ(U32(n*2*s.bytes), tileB)
	}
	MOVQ(tileK, reg.RCX)
	SHRQ(U8(2), reg.RCX)
	JZ(LabelRef("rest"))
	align(32)
	Label("four")
	for u := range unroll {
		s.step(u, true)
	}
	advance(unroll)
	DECQ(reg.RCX)
	JNZ(LabelRef("four"))
	Label("rest")
	ANDQ(U8(unroll-1), tileK)
	JZ(LabelRef("finish"))
	Label("one")
	s.step(0, false)
	advance(1)
	DECQ(tileK)
	JNZ(LabelRef("one"))
	Label("finish")
}

// finish adds the bias and stores the sums.
func (s tileShape) finish() {
	TESTQ(tileBias, tileBias)
	JZ(LabelRef("store"))
	for j := range s.vectors {
		s.read(Mem{Base: tileBias, Disp: j * s.bytes}, j, s.b(j))
	}
	for i := range s.rows {
		for j := range s.vectors {
			VADDPS(s.b(j), s.sum(i, j), s.sum(i, j))
		}
	}
	Label("store")
	s.eachRow(func(i int, row func(int) Mem) {
		for j := range s.vectors {
			s.write(s.sum(i, j), j, row(j))
		}
	})
}
