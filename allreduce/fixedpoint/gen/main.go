// Command gen writes the assembly of package fixedpoint with avo. Run it by go generate in allreduce/fixedpoint.
package main

import (
	"strings"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// set is one of the two instruction sets.
type set struct {
	suffix string
	v      []reg.VecPhysical
	half   []reg.VecPhysical // The lower halves of v.
	bytes  int               // Of a vector.
}

func (s set) lanes() int { return s.bytes / 4 }

var zs = []reg.VecPhysical{reg.Z0, reg.Z1, reg.Z2, reg.Z3, reg.Z4, reg.Z5, reg.Z6, reg.Z7, reg.Z8, reg.Z9, reg.Z10, reg.Z11, reg.Z12, reg.Z13, reg.Z14, reg.Z15}
var ys = []reg.VecPhysical{reg.Y0, reg.Y1, reg.Y2, reg.Y3, reg.Y4, reg.Y5, reg.Y6, reg.Y7, reg.Y8, reg.Y9, reg.Y10, reg.Y11, reg.Y12, reg.Y13, reg.Y14, reg.Y15}
var xs = []reg.VecPhysical{reg.X0, reg.X1, reg.X2, reg.X3, reg.X4, reg.X5, reg.X6, reg.X7, reg.X8, reg.X9, reg.X10, reg.X11, reg.X12, reg.X13, reg.X14, reg.X15}

// The registers of the loops: pointers, and the elements left.
var (
	first, second, third = reg.RDI, reg.RSI, reg.RBX
	left                 = reg.RCX
)

func main() {
	ConstraintExpr("amd64,!noasm")
	makeTables()
	for _, s := range []set{{"512", zs, ys, 64}, {"256", ys, xs, 32}} {
		maxAbs(s)
		addRounded(s)
		addDithered(s)
		decode(s)
		addInt32(s)
		addInt16(s)
		widen(s)
		narrow(s)
		pack24(s)
		open24(s, true)
		open24(s, false)
		pack12(s)
		open12(s, true)
		open12(s, false)
	}
	Generate()
}

// function starts an assembly function over n elements whose pointers do not escape.
func function(name, signature, doc string) {
	TEXT(name, NOSPLIT, signature)
	Doc(strings.Split(name+" "+doc, "\n")...)
	Pragma("noescape")
}

// begin loads the pointers and n.
func begin(names ...string) {
	for i, n := range names {
		Load(Param(n), []reg.GPPhysical{first, second, third}[i])
	}
	Load(Param("n"), left)
}

// loop runs body over groups of so many elements, and moves each pointer by its bytes an element.
func loop(elements int, move map[reg.GPPhysical]int, body func()) {
	Label("loop")
	body()
	for _, p := range []reg.GPPhysical{first, second, third} {
		if b := move[p]; b > 0 {
			ADDQ(U32(uint32(elements*b)), p)
		}
	}
	SUBQ(U32(uint32(elements)), left)
	JNZ(LabelRef("loop"))
}

func end() {
	VZEROUPPER()
	RET()
}

func at(p reg.GPPhysical, bytes int) Mem { return Mem{Base: p, Disp: bytes} }

// broadcast fills v with a 32-bit or 64-bit number.
func broadcast32(n uint32, v reg.VecPhysical, x reg.VecPhysical) {
	MOVL(U32(n), reg.EAX)
	VMOVD(reg.EAX, x)
	VPBROADCASTD(x, v)
}

func broadcast64(n uint64, v reg.VecPhysical, x reg.VecPhysical) {
	MOVQ(U64(n), reg.RAX)
	VMOVQ(reg.RAX, x)
	VPBROADCASTQ(x, v)
}

func (s set) and(a Op, b, d reg.VecPhysical) {
	if s.bytes == 64 {
		VPANDD(a, b, d)
	} else {
		VPAND(a, b, d)
	}
}

func (s set) or(a, b, d reg.VecPhysical) {
	if s.bytes == 64 {
		VPORD(a, b, d)
	} else {
		VPOR(a, b, d)
	}
}

func (s set) xor(a, b, d reg.VecPhysical) {
	if s.bytes == 64 {
		VPXORD(a, b, d)
	} else {
		VPXOR(a, b, d)
	}
}

func (s set) store(v reg.VecPhysical, m Mem) {
	if s.bytes == 64 {
		VMOVDQU32(v, m)
	} else {
		VMOVDQU(v, m)
	}
}

func (s set) load(m Mem, v reg.VecPhysical) {
	if s.bytes == 64 {
		VMOVDQU32(m, v)
	} else {
		VMOVDQU(m, v)
	}
}

// fold combines the lanes of v[0] into the lowest one; v[1] is lost.
func (s set) fold(op func(a, b, d Op)) {
	if s.bytes == 64 {
		VEXTRACTI64X4(U8(1), reg.Z0, reg.Y1)
		op(reg.Y1, reg.Y0, reg.Y0)
	}
	VEXTRACTI128(U8(1), reg.Y0, reg.X1)
	op(reg.X1, reg.X0, reg.X0)
	for _, order := range []uint8{0x4e, 0xb1} {
		VPSHUFD(U8(order), reg.X0, reg.X1)
		op(reg.X1, reg.X0, reg.X0)
	}
	MOVD(reg.X0, reg.EAX)
	Store(reg.EAX, ReturnIndex(0))
}

// unrolled is the number of vectors that a turn of the simple loops handles.
func (s set) unrolled() int { return group / s.lanes() }

// group is the number of elements of a turn; n is a multiple of it.
const group = 32

func maxAbs(s set) {
	function("maxAbs"+s.suffix, "func(x *float32, n int) uint32", "returns the largest of the bits of |x|. n is a multiple of 32 and not 0.")
	begin("x")
	mask := s.v[8]
	broadcast32(0x7fffffff, mask, xs[8])
	n := s.unrolled()
	for i := range n {
		s.xor(s.v[i], s.v[i], s.v[i])
	}
	loop(group, map[reg.GPPhysical]int{first: 4}, func() {
		for i := range n {
			s.and(at(first, i*s.bytes), mask, s.v[9+i%4])
			VPMAXUD(s.v[9+i%4], s.v[i], s.v[i])
		}
	})
	for i := 1; i < n; i++ {
		VPMAXUD(s.v[i], s.v[0], s.v[0])
	}
	s.fold(func(a, b, d Op) { VPMAXUD(a, b, d) })
	end()
}

func addRounded(s set) {
	function("addRounded"+s.suffix, "func(dst *int32, x *float32, n int, inverse float32)", "computes dst += round(x·inverse). n is a multiple of 32 and not 0.")
	begin("dst", "x")
	factor := s.v[15]
	VBROADCASTSS(NewParamAddr("inverse", 24), factor)
	loop(group, map[reg.GPPhysical]int{first: 4, second: 4}, func() {
		for i := range s.unrolled() {
			VMULPS(at(second, i*s.bytes), factor, s.v[i])
			VCVTPS2DQ(s.v[i], s.v[i])
			VPADDD(at(first, i*s.bytes), s.v[i], s.v[i])
			s.store(s.v[i], at(first, i*s.bytes))
		}
	})
	end()
}

func decode(s set) {
	function("decode"+s.suffix, "func(dst *float32, sums *int32, n int, factor float64)", "computes dst = float32(float64(sums)·factor). n is a multiple of 32 and not 0.")
	begin("dst", "sums")
	factor := s.v[15]
	VBROADCASTSD(NewParamAddr("factor", 24), factor)
	half := s.bytes / 2
	loop(group, map[reg.GPPhysical]int{first: 4, second: 4}, func() {
		for i := range 2 * s.unrolled() {
			k := i % 8
			VCVTDQ2PD(at(second, i*half), s.v[k])
			VMULPD(factor, s.v[k], s.v[k])
			s.narrowDoubles(s.v[k], s.half[k])
			storeHalf(s, s.half[k], at(first, i*half))
		}
	})
	end()
}

// narrowDoubles converts doubles to floats of half the width.
func (s set) narrowDoubles(from, to reg.VecPhysical) {
	if s.bytes == 64 {
		VCVTPD2PS(from, to)
	} else {
		VCVTPD2PSY(from, to)
	}
}

func storeHalf(s set, v reg.VecPhysical, m Mem) { VMOVDQU(v, m) }

func addInt32(s set) {
	function("addWire32x"+s.suffix, "func(dst, own *int32, b *byte, n int)", "computes dst = own + b, integers of 32 bits at any address. n is a multiple of 32 and not 0.")
	begin("dst", "own", "b")
	loop(group, map[reg.GPPhysical]int{first: 4, second: 4, third: 4}, func() {
		for i := range s.unrolled() {
			s.load(at(second, i*s.bytes), s.v[i])
			VPADDD(at(third, i*s.bytes), s.v[i], s.v[i])
			s.store(s.v[i], at(first, i*s.bytes))
		}
	})
	end()
}

func addInt16(s set) {
	function("addWire16x"+s.suffix, "func(dst, own *int32, b *byte, n int)", "computes dst = own + b, b integers of 16 bits. n is a multiple of 32 and not 0.")
	begin("dst", "own", "b")
	loop(group, map[reg.GPPhysical]int{first: 4, second: 4, third: 2}, func() {
		for i := range s.unrolled() {
			VPMOVSXWD(at(third, i*s.bytes/2), s.v[i])
			VPADDD(at(second, i*s.bytes), s.v[i], s.v[i])
			s.store(s.v[i], at(first, i*s.bytes))
		}
	})
	end()
}

func widen(s set) {
	function("widen"+s.suffix, "func(dst *int32, b *byte, n int)", "computes dst = b, b integers of 16 bits. n is a multiple of 32 and not 0.")
	begin("dst", "b")
	loop(group, map[reg.GPPhysical]int{first: 4, second: 2}, func() {
		for i := range s.unrolled() {
			VPMOVSXWD(at(second, i*s.bytes/2), s.v[i])
			s.store(s.v[i], at(first, i*s.bytes))
		}
	})
	end()
}

func narrow(s set) {
	function("narrow"+s.suffix, "func(b *byte, v *int32, n int) uint32", "computes b = v, the low 16 bits, and returns 0 exactly when all fit. n is a multiple of 32 and not 0.")
	begin("b", "v")
	s.xor(s.v[0], s.v[0], s.v[0])
	loop(group, map[reg.GPPhysical]int{first: 2, second: 4}, func() {
		for i := range s.unrolled() {
			full, cut := s.v[2+2*i], s.v[3+2*i]
			s.load(at(second, i*s.bytes), full)
			VPSLLD(U8(16), full, cut)
			VPSRAD(U8(16), cut, cut)
			s.xor(full, cut, full)
			s.or(full, s.v[0], s.v[0])
			if s.bytes == 64 {
				VPMOVDW(cut, at(first, i*32))
			}
		}
		if s.bytes == 32 { // Two vectors into one: lanes of 128 bits interleave.
			for i := 0; i < s.unrolled(); i += 2 {
				VPACKSSDW(s.v[3+2*(i+1)], s.v[3+2*i], s.v[1])
				VPERMQ(U8(0xd8), s.v[1], s.v[1])
				VMOVDQU(s.v[1], at(first, i*16))
			}
		}
	})
	s.fold(func(a, b, d Op) { VPOR(a, b, d) })
	end()
}
