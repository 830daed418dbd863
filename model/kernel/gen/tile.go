package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

const tileDoc = "computes c[i][j] (+)= Σ_k a[k][i]·b[k][j] (+ bias[j]), each sum one chain of fused multiply-adds in ascending k.\n" +
	"a[k][i] is at k·lda+i, or at i·lda+k in the functions called Rows; b has two vectors a row. lda and ldc are in bytes;\n" +
	"the sum starts at c when load is not 0; bias may be nil. In the functions called Half, elements of a and b are pairs of bf16."

// tileShape is one micro-kernel: rows by one or two vectors, on panels of B that are two vectors wide.
type tileShape struct {
	rows, vectors int
	byRows        bool // A lies in rows of k, unpacked.
	vec           []reg.VecPhysical
	bytes         int  // Of a vector.
	bRow          int  // Bytes of a row of B's panel.
	masked        bool // Columns past the masks are left alone.
	pairs         bool // Elements of A and B are pairs of bf16.
}

// The registers of a micro-kernel.
var (
	tileK, tileA, tileB, tileC, tileLD = reg.RAX, reg.RSI, reg.RBX, reg.RDI, reg.R8
	tileLoad, tileBias, tileRow        = reg.R10, reg.R12, reg.R11
	tileLDA, tileA2                    = reg.R13, reg.RDX
	// tileBases point to every third row of A; those that have another use have it outside the loop.
	tileBases = []reg.GPPhysical{tileA, reg.RDX, reg.R9, tileLoad, tileRow}
)

func tiles512() {
	for rows := 1; rows <= 14; rows++ {
		for _, byRows := range []bool{false, true} {
			suffix := map[bool]string{false: "", true: "Rows"}[byRows]
			s := tileShape{rows: rows, byRows: byRows, vectors: 2, vec: zs, bytes: 64, bRow: 128, masked: true}
			s.emit(fmt.Sprintf("tile%dx32%s", rows, suffix))
			s.vectors = 1
			s.emit(fmt.Sprintf("tile%dx16of32%s", rows, suffix))
			s.pairs = true
			s.emit(fmt.Sprintf("tile%dx16of32%sHalf", rows, suffix))
			s.vectors = 2
			s.emit(fmt.Sprintf("tile%dx32%sHalf", rows, suffix))
			s.pairs, s.vectors = false, 1
			s.vec, s.bytes = allYs(), 32
			s.emit(fmt.Sprintf("tile%dx8of32%s", rows, suffix))
		}
	}
}

// allYs are the 32 registers of 256 bits that AVX-512VL has.
func allYs() []reg.VecPhysical {
	return append(append([]reg.VecPhysical{}, ys...),
		reg.Y16, reg.Y17, reg.Y18, reg.Y19, reg.Y20, reg.Y21, reg.Y22, reg.Y23, reg.Y24, reg.Y25, reg.Y26, reg.Y27, reg.Y28, reg.Y29, reg.Y30, reg.Y31)
}

func tiles256() {
	for rows := 1; rows <= 6; rows++ {
		for _, byRows := range []bool{false, true} {
			suffix := map[bool]string{false: "", true: "Rows"}[byRows]
			s := tileShape{rows: rows, byRows: byRows, vectors: 2, vec: ys, bytes: 32, bRow: 64}
			s.emit(fmt.Sprintf("tile%dx16%s", rows, suffix))
		}
	}
}

func (s tileShape) emit(name string) {
	if s.masked {
		function(name, "func(kc int, a, b, c *float32, lda, ldc, load int, bias *float32, mask uint64)", tileDoc+"\nOnly the columns whose bit is set in mask are read and written.")
		Load(Param("mask"), reg.R9)
		KMOVW(reg.R9L, reg.K1)
		SHRQ(U8(16), reg.R9)
		KMOVW(reg.R9L, reg.K2)
	} else {
		function(name, "func(kc int, a, b, c *float32, lda, ldc, load int, bias *float32)", tileDoc)
	}
	load([]string{"kc", "a", "b", "c", "lda", "ldc", "load", "bias"}, tileK, tileA, tileB, tileC, tileLDA, tileLD, tileLoad, tileBias)
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

// element is the place of a[k+u][i].
func (s tileShape) element(i, u int) Mem {
	if s.byRows {
		m := Mem{Base: tileBases[i/3], Disp: 4 * u}
		if i%3 > 0 {
			m.Index, m.Scale = tileLDA, uint8(i%3)
		}
		return m
	}
	m := Mem{Base: []reg.GPPhysical{tileA, tileA2}[u/2], Disp: 4 * i}
	if u%2 == 1 {
		m.Index, m.Scale = tileLDA, 1
	}
	return m
}

// aim sets the pointers into A that the loop uses.
func (s tileShape) aim() {
	if !s.byRows {
		LEAQ(Mem{Base: tileA, Index: tileLDA, Scale: 2}, tileA2)
		return
	}
	for i := 1; 3*i < s.rows; i++ {
		LEAQ(Mem{Base: tileBases[i-1], Index: tileLDA, Scale: 2}, tileBases[i])
		ADDQ(tileLDA, tileBases[i])
	}
}

// advance moves n steps of k on; n is 1 or 4.
func (s tileShape) advance(n int) {
	ADDQ(U32(n*s.bRow), tileB)
	if s.byRows {
		for i := 0; 3*i < s.rows; i++ {
			ADDQ(U8(4*n), tileBases[i])
		}
		return
	}
	LEAQ(Mem{Base: tileA, Index: tileLDA, Scale: uint8(n)}, tileA)
	LEAQ(Mem{Base: tileA2, Index: tileLDA, Scale: uint8(n)}, tileA2)
}

// step adds the products of row k+u of the panels.
func (s tileShape) step(u int, prefetch bool) {
	for j := range s.vectors {
		VMOVUPS(Mem{Base: tileB, Disp: u*s.bRow + j*s.bytes}, s.b(j))
	}
	if prefetch {
		s.prefetch(u)
	}
	for i := range s.rows {
		VBROADCASTSS(s.element(i, u), s.factor(i))
		for j := range s.vectors {
			s.multiply(i, j)
		}
	}
}

// multiply adds the product of a row's factor and a vector of B.
func (s tileShape) multiply(i, j int) {
	if s.pairs {
		first := s.vectors * (s.rows + 1)
		dotPairs(s.vectors*s.rows+j, first+i%(len(s.vec)-first), s.vectors*i+j)
		return
	}
	VFMADD231PS(s.b(j), s.factor(i), s.sum(i, j))
}

// prefetch asks for the panels some steps ahead.
func (s tileShape) prefetch(u int) {
	PREFETCHT0(Mem{Base: tileB, Disp: 1024 + u*s.bRow})
	if s.bytes == 64 && s.vectors == 2 {
		PREFETCHT0(Mem{Base: tileB, Disp: 1024 + u*s.bRow + 64})
	}
	if !s.byRows && u%2 == 0 {
		m := s.element(0, u)
		m.Index, m.Scale = tileLDA, 8
		PREFETCHT0(m)
	}
}

func (s tileShape) loop() {
	const unroll = 4
	s.aim()
	MOVQ(tileK, reg.RCX)
	SHRQ(U8(2), reg.RCX)
	JZ(LabelRef("rest"))
	align(32)
	Label("four")
	for u := range unroll {
		s.step(u, true)
	}
	s.advance(unroll)
	DECQ(reg.RCX)
	JNZ(LabelRef("four"))
	Label("rest")
	ANDQ(U8(unroll-1), tileK)
	JZ(LabelRef("finish"))
	Label("one")
	s.step(0, false)
	s.advance(1)
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
