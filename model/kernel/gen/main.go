// Command gen writes the assembly of package kernel with avo. Run it by go generate in model/kernel.
package main

import (
	"strings"

	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

var zs = []reg.VecPhysical{
	reg.Z0, reg.Z1, reg.Z2, reg.Z3, reg.Z4, reg.Z5, reg.Z6, reg.Z7, reg.Z8, reg.Z9, reg.Z10, reg.Z11, reg.Z12, reg.Z13, reg.Z14, reg.Z15,
	reg.Z16, reg.Z17, reg.Z18, reg.Z19, reg.Z20, reg.Z21, reg.Z22, reg.Z23, reg.Z24, reg.Z25, reg.Z26, reg.Z27, reg.Z28, reg.Z29, reg.Z30, reg.Z31,
}

var ys = []reg.VecPhysical{
	reg.Y0, reg.Y1, reg.Y2, reg.Y3, reg.Y4, reg.Y5, reg.Y6, reg.Y7, reg.Y8, reg.Y9, reg.Y10, reg.Y11, reg.Y12, reg.Y13, reg.Y14, reg.Y15,
}

func main() {
	ConstraintExpr("amd64,!noasm")
	tiles512()
	tiles256()
	pack512()
	pack256()
	halves()
	heads()
	elementwise()
	pause()
	Generate()
}

// function starts an assembly function whose pointers do not escape.
func function(name, signature, doc string) {
	TEXT(name, NOSPLIT, signature)
	Doc(strings.Split(name+" "+doc, "\n")...)
	Pragma("noescape")
}

// load brings parameters into the registers given, in order.
func load(names []string, regs ...reg.GPPhysical) {
	for i, n := range names {
		Load(Param(n), regs[i])
	}
}

// align pads to a boundary of n bytes; avo has no such directive.
func align(n int) {
	Instruction(&ir.Instruction{Opcode: "PCALIGN", Operands: []Op{U8(n)}})
}

func pause() {
	TEXT("pause", NOSPLIT, "func()")
	Doc("pause tells the processor that this thread spins.")
	PAUSE()
	RET()
}
