package main

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// group is the number of elements of one turn of a loop, and of lanes of a sum: one vector of 512 bits or two of 256.
const group = 16

// vectors is one of the two instruction sets of the elementwise kernels.
type vectors struct {
	suffix    string
	v         []reg.VecPhysical
	bytes     int // Of a vector.
	parts     int // Vectors in a group.
	constants map[float32]Op

	// Instructions of do come once for each of several vectors side by side, so that the processor finds work while one
	// waits for its results: register r of copy i is v[r+i*registers].
	copies, registers int
}

// do emits an instruction for each copy: an int is a register, a float32 a constant, other operands are as they are.
func (s *vectors) do(instruction func(...Op), operands ...any) {
	for i := range s.copies {
		ops := make([]Op, len(operands))
		for j, o := range operands {
			switch o := o.(type) {
			case int:
				ops[j] = s.copy(o, i)
			case float32:
				ops[j] = s.constant(o)
			case Op:
				ops[j] = o
			default:
				panic(fmt.Sprintf("operand %v of type %T", o, o))
			}
		}
		instruction(ops...)
	}
}

// copy is register r of copy i.
func (s *vectors) copy(r, i int) reg.VecPhysical { return s.v[r+i*s.registers] }

// wide is s with as many copies as its registers hold beside the constants, whole groups and up to limit.
func (s *vectors) wide(registers, limit int) *vectors {
	w := *s
	free := 14 // Two are masks.
	if s.bytes == 64 {
		free = 32 - min(keptRegisters, len(s.constants))
	}
	w.registers, w.copies = registers, min(limit, free/registers)/s.parts*s.parts
	return &w
}

var pointerRegs = []reg.GPPhysical{reg.RDI, reg.RSI, reg.RBX, reg.R8, reg.R9, reg.R10, reg.R11, reg.R12}

// The registers of the loops: the offset in a row, its end, the end of its whole groups, the rows left.
var index, end, whole, rowsLeft = reg.RAX, reg.RCX, reg.R13, reg.RDX

func instructionSets() []*vectors {
	return []*vectors{
		{suffix: "512", v: zs, bytes: 64, parts: 1, copies: 1},
		{suffix: "256", v: ys, bytes: 32, parts: 2, copies: 1},
	}
}

// part is one vector of a group, or several copies from it on; partial ones touch only the elements that exist.
type part struct {
	*vectors
	number  int
	partial bool
	regs    map[string]reg.GPPhysical
}

func (p part) address(name string) Mem {
	return Mem{Base: p.regs[name], Index: index, Scale: 1, Disp: p.number * p.bytes}
}

// mask is the mask register of a partial vector of the 256-bit set.
func (p part) mask() Op { return []Op{reg.Y14, reg.Y15}[p.number] }

// each calls f for each copy, as a part of its own, with its register r.
func (p part) each(r int, f func(p part, r reg.VecPhysical)) {
	first := p.number
	for i := range p.copies {
		p.number = first + i
		f(p, p.copy(r, i))
	}
}

// load reads a vector; elements that do not exist become 0.
func (p part) load(name string, dst int) {
	p.each(dst, func(p part, dst reg.VecPhysical) {
		switch {
		case !p.partial:
			VMOVUPS(p.address(name), dst)
		case p.bytes == 64:
			VMOVUPS_Z(p.address(name), reg.K1, dst)
		default:
			VMASKMOVPS(p.address(name), p.mask(), dst)
		}
	})
}

func (p part) store(src int, name string) {
	p.each(src, func(p part, src reg.VecPhysical) {
		switch {
		case !p.partial:
			VMOVUPS(src, p.address(name))
		case p.bytes == 64:
			VMOVUPS(src, reg.K1, p.address(name))
		default:
			VMASKMOVPS(src, p.mask(), p.address(name))
		}
	})
}

// zeroAbsent sets the elements that do not exist to 0.
func (p part) zeroAbsent(r int) {
	switch {
	case !p.partial:
	case p.bytes == 64:
		VMOVAPS_Z(p.v[r], reg.K1, p.v[r])
	default:
		VANDPS(p.mask(), p.v[r], p.v[r])
	}
}

func (s *vectors) zero(r int) {
	if s.bytes == 64 {
		VPXORD(s.v[r], s.v[r], s.v[r])
		return
	}
	VXORPS(s.v[r], s.v[r], s.v[r])
}

// replicated is a constant as a full vector in memory.
var replicated = map[float32]Mem{}

func inMemory(x float32) Mem {
	if m, ok := replicated[x]; ok {
		return m
	}
	m := GLOBL(fmt.Sprintf("constant%08x", math.Float32bits(x)), attr.RODATA|attr.NOPTR)
	for i := range group {
		DATA(4*i, U32(math.Float32bits(x)))
	}
	replicated[x] = m
	return m
}

// keptRegisters is how many constants the 512-bit set holds in registers; others are read from memory.
const keptRegisters = 16

// keep puts constants into registers from the highest down, where there are enough of them.
func (s *vectors) keep(xs ...float32) {
	s.constants = map[float32]Op{}
	for i, x := range xs {
		m := inMemory(x)
		s.constants[x] = m
		if s.bytes == 64 && i < keptRegisters {
			r := s.v[31-i]
			VMOVUPS(m, r)
			s.constants[x] = r
		}
	}
}

func (s *vectors) constant(x float32) Op {
	c, ok := s.constants[x]
	if !ok {
		panic(fmt.Sprintf("constant %v is not kept", x))
	}
	return c
}

// maskTable is 16 words of ones before 16 words of zeros.
var maskTable Mem

func masks() {
	maskTable = GLOBL("maskTable", attr.RODATA|attr.NOPTR)
	for i := range 2 * group {
		DATA(4*i, U32([]uint32{math.MaxUint32, 0}[i/group]))
	}
}

// partialMask makes the masks for the n mod 16 elements after the whole groups; it uses RCX and RAX.
func (s *vectors) partialMask(n reg.GPPhysical) {
	MOVQ(n, reg.RCX)
	ANDQ(U8(group-1), reg.RCX)
	if s.bytes == 64 {
		MOVL(U32(1), reg.EAX)
		SHLL(reg.CL, reg.EAX)
		DECL(reg.EAX)
		KMOVW(reg.EAX, reg.K1)
		return
	}
	LEAQ(maskTable.Offset(4*group), reg.RAX)
	SHLQ(U8(2), reg.RCX)
	SUBQ(reg.RCX, reg.RAX)
	VMOVUPS(Mem{Base: reg.RAX}, reg.Y14)
	VMOVUPS(Mem{Base: reg.RAX, Disp: 32}, reg.Y15)
}

// kernel is an elementwise function over rows of n elements.
type kernel struct {
	name, doc string
	streams   []string // Pointers that go on from row to row, stride n.
	channels  []string // Pointers to n elements that each row uses again.
	scalars   []string // Broadcast to registers from scalarBase up.
	doubles   []string // Those of the names above that are float64, not float32.
	constants []float32
	registers int      // That body uses from 0 on, where several vectors are worked on side by side; its instructions come from do.
	rows      bool     // Takes a number of rows; otherwise there is one.
	strided   []string // Those of streams whose rows lie stride bytes apart.
	results   []string // Their types; finish leaves them in registers 0 and 1.
	finish    func(s *vectors)
	setup     func(s *vectors)
	body      func(p part)
}

// scalarBase is the register of the first scalar.
const scalarBase = 10

// typeOf is the element type of a parameter.
func (k kernel) typeOf(name string) string {
	if slices.Contains(k.doubles, name) {
		return "float64"
	}
	return "float32"
}

func (k kernel) signature() string {
	sig := "func("
	for _, name := range slices.Concat(k.streams, k.channels) {
		sig += name + " *" + k.typeOf(name) + ", "
	}
	if k.rows {
		sig += "rows, "
	}
	sig += "n"
	if len(k.strided) > 0 {
		sig += ", stride"
	}
	sig += " int"
	for _, name := range k.scalars {
		sig += ", " + name + " " + k.typeOf(name)
	}
	return sig + ") (" + strings.Join(k.results, ", ") + ")"
}

func (k kernel) emit(s *vectors) {
	function(k.name+s.suffix, k.signature(), k.doc)
	regs := map[string]reg.GPPhysical{}
	for i, name := range slices.Concat(k.streams, k.channels) {
		regs[name] = pointerRegs[i]
		Load(Param(name), pointerRegs[i])
	}
	for i, name := range k.scalars {
		x := Load(Param(name), reg.X0)
		if k.typeOf(name) == "float64" {
			VBROADCASTSD(x, s.v[scalarBase+i])
		} else {
			VBROADCASTSS(x, s.v[scalarBase+i])
		}
	}
	Load(Param("n"), reg.RDX)
	s.partialMask(reg.RDX)
	if len(k.doubles)+len(k.results) > 0 {
		s.doubleMask()
	}
	MOVQ(reg.RDX, end)
	SHLQ(U8(2), end)
	MOVQ(end, whole)
	ANDQ(I8(-4*group), whole)
	s.keep(k.constants...)
	if k.setup != nil {
		k.setup(s)
	}
	if k.rows {
		Load(Param("rows"), rowsLeft)
		Label("row")
	}
	k.row(s, regs)
	if k.rows {
		k.nextRow(regs)
		DECQ(rowsLeft)
		JNZ(LabelRef("row"))
	}
	if k.finish != nil {
		k.finish(s)
	}
	for i := range k.results {
		Store([]reg.VecPhysical{reg.X0, reg.X1}[i], ReturnIndex(i))
	}
	VZEROUPPER()
	RET()
}

// nextRow moves the streams to their next row.
func (k kernel) nextRow(regs map[string]reg.GPPhysical) {
	if len(k.strided) > 0 {
		Load(Param("stride"), index)
	}
	for _, name := range k.streams {
		step := end
		if slices.Contains(k.strided, name) {
			step = index
		}
		ADDQ(step, regs[name])
	}
}

// sideBySide is the most vectors that a kernel works on side by side.
const sideBySide = 4

func (k kernel) row(s *vectors, regs map[string]reg.GPPhysical) {
	XORQ(index, index)
	parts := s
	if k.registers > 0 {
		parts = s.wide(k.registers, s.parts)
		k.wideGroups(s.wide(k.registers, sideBySide), regs)
	}
	CMPQ(index, whole)
	JGE(LabelRef("partial"))
	align(16)
	Label("whole")
	k.group(parts, false, regs)
	ADDQ(U8(4*group), index)
	CMPQ(index, whole)
	JLT(LabelRef("whole"))
	Label("partial")
	CMPQ(index, end)
	JGE(LabelRef("done"))
	k.group(parts, true, regs)
	Label("done")
}

func (k kernel) group(s *vectors, partial bool, regs map[string]reg.GPPhysical) {
	for i := 0; i < s.parts; i += s.copies {
		k.body(part{s, i, partial, regs})
	}
}

// wideGroups are the turns of more than a group.
func (k kernel) wideGroups(s *vectors, regs map[string]reg.GPPhysical) {
	if s.copies <= s.parts {
		return
	}
	step := s.copies * s.bytes
	SUBQ(I32(int32(step)), whole)
	CMPQ(index, whole)
	JG(LabelRef("groups"))
	align(16)
	Label("wide")
	k.body(part{s, 0, false, regs})
	ADDQ(I32(int32(step)), index)
	CMPQ(index, whole)
	JLE(LabelRef("wide"))
	Label("groups")
	ADDQ(I32(int32(step)), whole)
}
