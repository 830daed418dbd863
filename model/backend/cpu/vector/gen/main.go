// Command gen writes the assembly of package vector with avo. Run it by go generate in model/backend/cpu/vector.
package main

import (
	"math"
	"strings"

	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

func main() {
	ConstraintExpr("amd64,!noasm")
	lines()
	gates()
	columns()
	layerNorm()
	Generate()
}

// function starts an assembly function whose pointers do not escape. No parameter may be called g, which the
// assembler takes for a register.
func function(name, signature, doc string) {
	TEXT(name, NOSPLIT, signature)
	Doc(strings.Split(name+" "+doc, "\n")...)
	Pragma("noescape")
}

// pointers loads parameters into registers.
func pointers(names ...string) []reg.Register {
	r := make([]reg.Register, len(names))
	for i, n := range names {
		r[i] = Load(Param(n), GP64())
	}
	return r
}

// scalar loads a float32 parameter into all lanes.
func scalar(name string) reg.VecVirtual {
	y := YMM()
	x := XMM()
	Load(Param(name), x)
	VBROADCASTSS(x, y)
	return y
}

// loop runs body over n elements, 8 at a time; it moves the pointers on.
func loop(n reg.Register, moving []reg.Register, body func()) {
	Label("loop")
	body()
	for _, p := range moving {
		ADDQ(Imm(32), p)
	}
	SUBQ(Imm(8), n)
	JG(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

func at(p reg.Register) Mem { return Mem{Base: p} }

// read loads 8 elements.
func read(p reg.Register) reg.VecVirtual {
	y := YMM()
	VMOVUPS(at(p), y)
	return y
}

var constants = map[uint32]Mem{}

// constant is a vector of 8 equal float32 in memory.
func constant(v float64) Mem {
	bits := math.Float32bits(float32(v))
	if m, ok := constants[bits]; ok {
		return m
	}
	m := GLOBL("c"+hex(bits), attr.RODATA|attr.NOPTR)
	for i := range 8 {
		DATA(4*i, U32(bits))
	}
	constants[bits] = m
	return m
}

func hex(v uint32) string {
	const digits = "0123456789abcdef"
	s := ""
	for i := 28; i >= 0; i -= 4 {
		s += string(digits[v>>i&15])
	}
	return s
}

// poly is the coefficients of exp(r), the highest first, down to r².
var poly = []float64{1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1}

// expOf is eˣ, as the Go twin exp. It destroys x.
func expOf(x reg.VecVirtual) reg.VecVirtual {
	bound := YMM()
	VMOVUPS(constant(-87.3), bound)
	VMAXPS(x, bound, x) // The second source, x, wins when it is NaN.
	VMOVUPS(constant(88.3), bound)
	VMINPS(x, bound, x)
	t, k, u, p := YMM(), YMM(), YMM(), YMM()
	VMULPS(constant(1.44269504088896341), x, t)
	VADDPS(constant(12582912), t, t)
	VSUBPS(constant(12582912), t, k)
	VMULPS(constant(0.693145751953125), k, u)
	VSUBPS(u, x, x)
	VMULPS(constant(1.42860682030941723212e-6), k, u)
	VSUBPS(u, x, x)
	VMOVUPS(constant(poly[0]), p)
	horner(p, x, poly[1:])
	VMULPS(x, p, p)
	VMULPS(x, p, p)
	VADDPS(x, p, p)
	VADDPS(constant(1), p, p)
	VPSLLD(Imm(23), t, t)
	VPADDD(t, p, p)
	return p
}

// horner is p = p·x + c for each c.
func horner(p, x reg.VecVirtual, coefficients []float64) {
	for _, c := range coefficients {
		VMULPS(x, p, p)
		VADDPS(constant(c), p, p)
	}
}

// sigmoidOf is 1/(1+e⁻ˣ). x survives.
func sigmoidOf(x reg.VecVirtual) reg.VecVirtual {
	n, one := YMM(), YMM()
	VXORPS(constant(math.Copysign(0, -1)), x, n)
	e := expOf(n)
	VMOVUPS(constant(1), one)
	VADDPS(one, e, e)
	VDIVPS(e, one, e)
	return e
}

// normalOf is Φ(x) = 1/2 + erf(x/√2)/2. x survives.
func normalOf(x reg.VecVirtual) reg.VecVirtual {
	z, bound, s, p, q := YMM(), YMM(), YMM(), YMM(), YMM()
	VMULPS(constant(math.Sqrt2/2), x, z)
	VMOVUPS(constant(-4), bound)
	VMAXPS(z, bound, z)
	VMOVUPS(constant(4), bound)
	VMINPS(z, bound, z)
	VMULPS(z, z, s)
	VMOVUPS(constant(-2.72614225801306e-10), p)
	horner(p, s, []float64{2.77068142495902e-08, -2.10102402082508e-06, -5.69250639462346e-05, -7.34990630326855e-04, -2.95459980854025e-03, -1.60960333262415e-02})
	VMOVUPS(constant(-1.45660718464996e-05), q)
	horner(q, s, []float64{-2.13374055278905e-04, -1.68282697438203e-03, -7.37332916720468e-03, -1.42647390514189e-02})
	VMULPS(z, p, p)
	VDIVPS(q, p, p)
	VMULPS(constant(0.5), p, p)
	VADDPS(constant(0.5), p, p)
	return p
}

// densityOf is φ(x). x survives.
func densityOf(x reg.VecVirtual) reg.VecVirtual {
	s := YMM()
	VMULPS(constant(-0.5), x, s)
	VMULPS(x, s, s)
	e := expOf(s)
	VMULPS(constant(1/2.5066282746310002), e, e)
	return e
}

// lineOf is x·a + b.
func lineOf(x, a, b reg.Register) reg.VecVirtual {
	y := read(x)
	VMULPS(at(a), y, y)
	VADDPS(at(b), y, y)
	return y
}

func lines() {
	function("lineSiLUGradientAsm", "func(grad, dy, x, a, b *float32, n int)", "is g = dy·silu'(a·x + b).")
	p := pointers("grad", "dy", "x", "a", "b")
	loop(Load(Param("n"), GP64()), p, func() {
		h := lineOf(p[2], p[3], p[4])
		s, one := sigmoidOf(h), YMM()
		VMOVUPS(constant(1), one)
		VSUBPS(s, one, one)
		VMULPS(one, h, h)
		VADDPS(constant(1), h, h)
		VMULPS(h, s, s)
		VMULPS(at(p[1]), s, s)
		VMOVUPS(s, at(p[0]))
	})
}

func gates() {
	function("gegluAsm", "func(y, v, gate *float32, n int)", "is y = v·gelu(g).")
	p := pointers("y", "v", "gate")
	loop(Load(Param("n"), GP64()), p, func() {
		g := read(p[2])
		f := normalOf(g)
		VMULPS(f, g, g)
		VMULPS(at(p[1]), g, g)
		VMOVUPS(g, at(p[0]))
	})
	function("gegluGradientAsm", "func(dv, dg, v, gate, dy *float32, n int)", "is dv = dy·gelu(g), dg = dy·v·gelu'(g).")
	p = pointers("dv", "dg", "v", "gate", "dy")
	loop(Load(Param("n"), GP64()), p, func() {
		g, v, dy := read(p[3]), read(p[2]), read(p[4])
		f := normalOf(g)
		y := YMM()
		VMULPS(f, g, y)
		VMULPS(y, dy, y)
		d := densityOf(g)
		VMULPS(d, g, d)
		VADDPS(d, f, f)
		VMULPS(f, v, f)
		VMULPS(f, dy, f)
		VMOVUPS(y, at(p[0]))
		VMOVUPS(f, at(p[1]))
	})
}

// wide loads 8 elements as two vectors of float64.
func wide(m Mem) (lo, hi reg.VecVirtual) {
	lo, hi = YMM(), YMM()
	VCVTPS2PD(m, lo)
	VCVTPS2PD(m.Offset(16), hi)
	return lo, hi
}

func zero() reg.VecVirtual {
	y := YMM()
	VXORPD(y, y, y)
	return y
}

// rows runs body over rows of a stride, and then stores the sums, 4 a register.
func rowLoop(rows, stride reg.Register, moving []reg.Register, body func(), stores func()) {
	SHLQ(Imm(2), stride)
	Label("loop")
	body()
	for _, p := range moving {
		ADDQ(stride, p)
	}
	DECQ(rows)
	JG(LabelRef("loop"))
	stores()
	VZEROUPPER()
	RET()
}

func store(dst reg.Register, lo, hi reg.VecVirtual) {
	VMOVUPD(lo, at(dst))
	VMOVUPD(hi, at(dst).Offset(32))
}

func columns() {
	function("columnSumsAsm", "func(sum *float64, x *float32, rows, stride int)", "sums 8 columns over rows.")
	p := pointers("sum", "x", "rows", "stride")
	a, b := zero(), zero()
	rowLoop(p[2], p[3], p[1:2], func() {
		lo, hi := wide(at(p[1]))
		VADDPD(lo, a, a)
		VADDPD(hi, b, b)
	}, func() { store(p[0], a, b) })

	function("columnSquaresAsm", "func(sum, square *float64, x *float32, rows, stride int)", "sums 8 columns and their squares over rows.")
	p = pointers("sum", "square", "x", "rows", "stride")
	a, b = zero(), zero()
	c, d := zero(), zero()
	rowLoop(p[3], p[4], p[2:3], func() {
		lo, hi := wide(at(p[2]))
		VADDPD(lo, a, a)
		VADDPD(hi, b, b)
		VFMADD231PD(lo, lo, c)
		VFMADD231PD(hi, hi, d)
	}, func() { store(p[0], a, b); store(p[1], c, d) })

	function("columnProductsAsm", "func(sum, product *float64, grad, x *float32, rows, stride int)", "sums 8 columns of g and of g·x over rows.")
	p = pointers("sum", "product", "grad", "x", "rows", "stride")
	a, b = zero(), zero()
	c, d = zero(), zero()
	rowLoop(p[4], p[5], p[2:4], func() {
		lo, hi := wide(at(p[2]))
		l2, h2 := wide(at(p[3]))
		VADDPD(lo, a, a)
		VADDPD(hi, b, b)
		VFMADD231PD(lo, l2, c)
		VFMADD231PD(hi, h2, d)
	}, func() { store(p[0], a, b); store(p[1], c, d) })
}

// double loads a float64 parameter into all lanes.
func double(name string) reg.VecVirtual {
	y, x := YMM(), XMM()
	Load(Param(name), x)
	VBROADCASTSD(x, y)
	return y
}

func layerNorm() {
	function("laneSumsAsm", "func(lanes *float64, x *float32, n int)", "sums every eighth element.")
	p := pointers("lanes", "x")
	n := Load(Param("n"), GP64())
	a, b := zero(), zero()
	Label("loop")
	lo, hi := wide(at(p[1]))
	VADDPD(lo, a, a)
	VADDPD(hi, b, b)
	ADDQ(Imm(32), p[1])
	SUBQ(Imm(8), n)
	JG(LabelRef("loop"))
	store(p[0], a, b)
	VZEROUPPER()
	RET()

	function("laneSquaresAsm", "func(lanes *float64, x *float32, n int, mean float64)", "sums the squares of every eighth element less mean.")
	p = pointers("lanes", "x")
	n = Load(Param("n"), GP64())
	mean := double("mean")
	a, b = zero(), zero()
	Label("loop")
	lo, hi = wide(at(p[1]))
	VSUBPD(mean, lo, lo)
	VSUBPD(mean, hi, hi)
	VMULPD(lo, lo, lo)
	VMULPD(hi, hi, hi)
	VADDPD(lo, a, a)
	VADDPD(hi, b, b)
	ADDQ(Imm(32), p[1])
	SUBQ(Imm(8), n)
	JG(LabelRef("loop"))
	store(p[0], a, b)
	VZEROUPPER()
	RET()

	layerNormGradients()
}

func layerNormGradients() {
	function("layerNormSumsAsm", "func(lanes, db, dg *float64, x, dy, gamma *float32, n int, mean, inverse float32)",
		"adds dy to db and dy·x̂ to dg, and sums γ·dy (8 lanes) and γ·dy·x̂ (8 lanes).")
	p := pointers("lanes", "db", "dg", "x", "dy", "gamma")
	m, r := scalar("mean"), scalar("inverse")
	n := Load(Param("n"), GP64())
	sums := []reg.VecVirtual{zero(), zero()}
	products := []reg.VecVirtual{zero(), zero()}
	Label("loop")
	h := read(p[3])
	VSUBPS(m, h, h)
	VMULPS(r, h, h)
	high := XMM()
	VEXTRACTF128(Imm(1), h, high)
	for i := range 2 {
		hat, dy, gamma, t := YMM(), YMM(), YMM(), YMM()
		if i == 0 {
			VCVTPS2PD(h.AsX(), hat)
		} else {
			VCVTPS2PD(high, hat)
		}
		VCVTPS2PD(at(p[4]).Offset(16*i), dy)
		VADDPD(at(p[1]).Offset(32*i), dy, t)
		VMOVUPD(t, at(p[1]).Offset(32*i))
		VMULPD(hat, dy, t)
		VADDPD(at(p[2]).Offset(32*i), t, t)
		VMOVUPD(t, at(p[2]).Offset(32*i))
		VCVTPS2PD(at(p[5]).Offset(16*i), gamma)
		VMULPD(dy, gamma, gamma)
		VADDPD(gamma, sums[i], sums[i])
		VMULPD(hat, gamma, gamma)
		VADDPD(gamma, products[i], products[i])
	}
	ADDQ(Imm(64), p[1])
	ADDQ(Imm(64), p[2])
	for _, q := range p[3:] {
		ADDQ(Imm(32), q)
	}
	SUBQ(Imm(8), n)
	JG(LabelRef("loop"))
	store(p[0], sums[0], sums[1])
	VMOVUPD(products[0], at(p[0]).Offset(64))
	VMOVUPD(products[1], at(p[0]).Offset(96))
	VZEROUPPER()
	RET()

	function("layerNormGradientAsm", "func(dx, x, dy, gamma *float32, n int, mean, inverse, sum, product float32)",
		"is dx = inverse·(γ·dy − sum − x̂·product).")
	p = pointers("dx", "x", "dy", "gamma")
	m, r = scalar("mean"), scalar("inverse")
	s, q := scalar("sum"), scalar("product")
	loop(Load(Param("n"), GP64()), p, func() {
		x, g := read(p[1]), read(p[2])
		VSUBPS(m, x, x)
		VMULPS(r, x, x)
		VMULPS(q, x, x)
		VMULPS(at(p[3]), g, g)
		VSUBPS(s, g, g)
		VSUBPS(x, g, g)
		VMULPS(r, g, g)
		VMOVUPS(g, at(p[0]))
	})
}
