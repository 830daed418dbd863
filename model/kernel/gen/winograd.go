package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The transforms of convolution by tiles of 2×2 pixels: see the twins in winograd_generic.go, which these follow step by
// step. Vectors go along channels.

func winograd(s *vectors) {
	tileInput(s)
	tileGradient(s)
	tileOutput(s)
	weightPoints(s)
	weightTaps(s)
}

// overColumns calls body for groups of n columns; it takes RAX, RCX, RDX and R13.
func (s *vectors) overColumns(label string, body func(p part)) {
	XORQ(index, index)
	CMPQ(index, whole)
	JGE(LabelRef(label + "Partial"))
	Label(label + "Whole")
	for i := range s.parts {
		body(part{s, i, false, nil})
	}
	ADDQ(U8(4*group), index)
	CMPQ(index, whole)
	JLT(LabelRef(label + "Whole"))
	Label(label + "Partial")
	CMPQ(index, end)
	JGE(LabelRef(label + "Done"))
	for i := range s.parts {
		body(part{s, i, true, nil})
	}
	Label(label + "Done")
}

// columns reads the parameter n for overColumns.
func (s *vectors) columns() {
	Load(Param("n"), reg.RDX)
	s.partialMask(reg.RDX)
	MOVQ(reg.RDX, end)
	SHLQ(U8(2), end)
	MOVQ(end, whole)
	ANDQ(I8(-4*group), whole)
}

// loadFrom and storeTo are load and store by a register.
func (p part) loadFrom(base reg.GPPhysical, dst int) {
	p.regs = map[string]reg.GPPhysical{"": base}
	p.load("", dst)
}

func (p part) storeTo(src int, base reg.GPPhysical) {
	p.regs = map[string]reg.GPPhysical{"": base}
	p.store(src, "")
}

func (p part) add(a, b, d int)      { VADDPS(p.v[b], p.v[a], p.v[d]) }
func (p part) subtract(a, b, d int) { VSUBPS(p.v[b], p.v[a], p.v[d]) }

func tileInput(s *vectors) {
	function("tileInput"+s.suffix, "func(dst *float32, src **float32, n, step int)", "writes the 16 points of a tile from its 4×4 pixels; step bytes lie between points.")
	dst, src, step, out, pixel := reg.RDI, reg.RSI, reg.R8, reg.R9, reg.R10
	load([]string{"dst", "src", "step"}, dst, src, step)
	s.columns()
	s.overColumns("", func(p part) {
		MOVQ(dst, out)
		for _, rows := range [][2]int{{0, 2}, {1, 2}, {2, 1}, {1, 3}} {
			for j := range 4 {
				for i, r := range rows {
					MOVQ(Mem{Base: src, Disp: 8 * (4*r + j)}, pixel)
					p.loadFrom(pixel, 4*i+j)
				}
				p.inputStep(rows, j, 4+j, j)
			}
			for j, columns := range [][2]int{{0, 2}, {1, 2}, {2, 1}, {1, 3}} {
				p.inputStep(columns, columns[0], columns[1], 4+j)
				p.storeTo(4+j, out)
				ADDQ(step, out)
			}
		}
	})
	VZEROUPPER()
	RET()
}

// inputStep adds or subtracts: only the second of the four combinations is a sum.
func (p part) inputStep(which [2]int, a, b, d int) {
	if which == [2]int{1, 2} {
		p.add(a, b, d)
		return
	}
	p.subtract(a, b, d)
}

func tileGradient(s *vectors) {
	function("tileGradient"+s.suffix, "func(dst *float32, src **float32, n, step int)", "writes the 16 points of a tile's gradient from its 2×2 pixels; step bytes lie between points.")
	dst, src, step, out, pixel := reg.RDI, reg.RSI, reg.R8, reg.R9, reg.R10
	load([]string{"dst", "src", "step"}, dst, src, step)
	s.columns()
	s.overColumns("", func(p part) {
		MOVQ(dst, out)
		for i := range 4 {
			MOVQ(Mem{Base: src, Disp: 8 * i}, pixel)
			p.loadFrom(pixel, i)
		}
		p.zero(8)
		for row := range 4 {
			for j := range 2 { // Column j of the row goes to 4+j.
				p.gradientStep(row, j, 2+j, 4+j)
			}
			for column := range 4 {
				p.gradientStep(column, 4, 5, 6)
				p.storeTo(6, out)
				ADDQ(step, out)
			}
		}
	})
	VZEROUPPER()
	RET()
}

// gradientStep puts a, a+b, a−b or 0−b into d.
func (p part) gradientStep(which, a, b, d int) {
	switch which {
	case 0:
		VMOVAPS(p.v[a], p.v[d])
	case 1:
		p.add(a, b, d)
	case 2:
		p.subtract(a, b, d)
	default:
		p.subtract(8, b, d)
	}
}

// fourRows sets four registers to every fourth point from src on.
func fourRows(src, step reg.GPPhysical, rows []reg.GPPhysical) {
	MOVQ(src, rows[0])
	for i := 1; i < 4; i++ {
		LEAQ(Mem{Base: rows[i-1], Index: step, Scale: 4}, rows[i])
	}
}

var pointRows = []reg.GPPhysical{reg.R8, reg.R10, reg.R11, reg.R12}

func tileOutput(s *vectors) {
	function("tileOutput"+s.suffix, "func(dst, old **float32, src, bias *float32, n, step int)", "writes the 2×2 pixels of a tile from its 16 points, plus old, plus bias; step bytes lie between points.")
	dst, src, bias, step, pixel := reg.RDI, reg.RSI, reg.RBX, reg.R9, reg.RDX
	load([]string{"dst", "src", "bias", "step"}, dst, src, bias, step)
	s.columns()
	s.overColumns("", func(p part) {
		fourRows(src, step, pointRows)
		for j := range 4 {
			for i, row := range pointRows {
				p.loadFrom(row, 8+i)
				ADDQ(step, row)
			}
			p.outputStep(8, 9, 10, 11, j, 4+j)
		}
		p.outputStep(0, 1, 2, 3, 8, 9)
		p.outputStep(4, 5, 6, 7, 10, 11)
		p.loadFrom(bias, 1)
		for q := range 4 {
			Load(Param("old"), pixel)
			MOVQ(Mem{Base: pixel, Disp: 8 * q}, pixel)
			p.loadFrom(pixel, 0)
			p.add(8+q, 0, 8+q)
			p.add(8+q, 1, 8+q)
			MOVQ(Mem{Base: dst, Disp: 8 * q}, pixel)
			p.storeTo(8+q, pixel)
		}
	})
	VZEROUPPER()
	RET()
}

// outputStep puts a+b+c into d and b−c−last into e.
func (p part) outputStep(a, b, c, last, d, e int) {
	p.add(a, b, 12)
	p.subtract(b, c, 13)
	p.add(12, c, d)
	p.subtract(13, last, e)
}

func weightPoints(s *vectors) {
	function("weightPoints"+s.suffix, "func(dst, src *float32, rows, n, dstRow, srcRow, dstPoint, srcTap int)",
		"writes the 16 points of 3×3 taps for rows of n columns. Steps are in bytes; rows is at least 1.")
	dst, src, point, tap, out, in := reg.RDI, reg.RSI, reg.R8, reg.R9, reg.R10, reg.R11
	load([]string{"dst", "src", "dstPoint", "srcTap"}, dst, src, point, tap)
	s.columns()
	s.keep(0.5)
	Load(Param("rows"), reg.RBX)
	Label("row")
	s.overColumns("", func(p part) {
		// Column j of the taps gives four numbers, kept in registers where there are enough, otherwise computed for each
		// row of points anew.
		MOVQ(dst, out)
		for row := range 4 {
			for j := range 3 {
				in3 := func(i, d int) {
					LEAQ(Mem{Base: tap, Index: tap, Scale: 2}, in) // 3 taps a row.
					switch i {
					case 0:
						MOVQ(src, in)
					case 1:
						ADDQ(src, in)
					default:
						LEAQ(Mem{Base: src, Index: in, Scale: 2}, in)
					}
					switch j {
					case 1:
						ADDQ(tap, in)
					case 2:
						LEAQ(Mem{Base: in, Index: tap, Scale: 2}, in)
					}
					p.loadFrom(in, d)
				}
				switch row {
				case 0:
					in3(0, j)
				case 3:
					in3(2, j)
				default:
					in3(0, 8)
					in3(1, 9)
					in3(2, 10)
					p.weightStep(row, 8, 9, 10, j)
				}
			}
			for column := range 4 {
				r := []int{0, 11, 11, 2}[column]
				if r == 11 {
					p.weightStep(column, 0, 1, 2, r)
				}
				p.storeTo(r, out)
				ADDQ(point, out)
			}
		}
	})
	Load(Param("dstRow"), index)
	ADDQ(index, dst)
	Load(Param("srcRow"), index)
	ADDQ(index, src)
	DECQ(reg.RBX)
	JNZ(LabelRef("row"))
	VZEROUPPER()
	RET()
}

// weightStep puts (a+c)/2 + b/2, or with − for which = 2, into d.
func (p part) weightStep(which, a, b, c, d int) {
	p.add(a, c, 12)
	VMULPS(p.constant(0.5), p.v[12], p.v[12])
	VMULPS(p.constant(0.5), p.v[b], p.v[13])
	if which == 1 {
		p.add(12, 13, d)
		return
	}
	p.subtract(12, 13, d)
}

func weightTaps(s *vectors) {
	function("weightTaps"+s.suffix, "func(dst, old, src *float32, n, dstTap, oldTap, step int)",
		"writes the gradients of 3×3 taps from those of their 16 points, plus old; step bytes lie between points.")
	dst, old, src, step := reg.RDI, reg.RBX, reg.RSI, reg.R9
	load([]string{"dst", "old", "src", "step"}, dst, old, src, step)
	s.columns()
	s.keep(0.5)
	s.overColumns("", func(p part) {
		fourRows(src, step, pointRows)
		// Three rows of four: 0 to 3, 4 to 7 and, since a 256-bit set has no more registers, the rest when its turn comes.
		for row := range 3 {
			if row > 0 {
				fourRows(src, step, pointRows)
			}
			for j := range 4 {
				for i, r := range pointRows {
					if row != 1 || i == 1 || i == 2 {
						p.loadFrom(r, 8+i)
					}
					ADDQ(step, r)
				}
				p.tapStep(row, 8, 9, 10, 11, j)
			}
			for column := range 3 {
				p.tapStep(column, 0, 1, 2, 3, 8)
				p.loadFrom(old, 9)
				p.add(8, 9, 8)
				p.storeTo(8, dst)
				Load(Param("oldTap"), reg.RDX)
				ADDQ(reg.RDX, old)
				Load(Param("dstTap"), reg.RDX)
				ADDQ(reg.RDX, dst)
			}
		}
		Load(Param("dst"), dst)
		Load(Param("old"), old)
	})
	VZEROUPPER()
	RET()
}

// tapStep puts a + (b+c)/2, (b−c)/2 or (b+c)/2 + last into d.
func (p part) tapStep(which, a, b, c, last, d int) {
	if which == 1 {
		p.subtract(b, c, 12)
		VMULPS(p.constant(0.5), p.v[12], p.v[d])
		return
	}
	p.add(b, c, 12)
	VMULPS(p.constant(0.5), p.v[12], p.v[12])
	if which == 0 {
		p.add(a, 12, d)
		return
	}
	p.add(12, last, d)
}
