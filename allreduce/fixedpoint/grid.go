package fixedpoint

import (
	"fmt"
	"math/bits"
)

// Format is how a sum travels. It also fixes how many bits a term and its growth get.
type Format uint8

const (
	Int32 Format = iota // 4 bytes an element, 8 bits for growth, up to 256 micro-batches.
	Int16               // 2 bytes an element, 4 bits for growth, up to 16 micro-batches, stochastic rounding.
)

// formats holds what the formats differ in.
var formats = [...]struct {
	name                string
	bytes, bits, growth int
	wake, maxTerms      int
}{
	Int32: {name: "int32", bytes: 4, bits: 31, growth: 8, wake: 8, maxTerms: 256},
	Int16: {name: "int16", bytes: 2, bits: 15, growth: 4, wake: 8, maxTerms: 16},
}

// ParseFormat returns the format named "int32" or "int16".
func ParseFormat(name string) (Format, error) {
	for f := range formats {
		if formats[f].name == name {
			return Format(f), nil
		}
	}
	return 0, fmt.Errorf("wire format must be int32 or int16, got %q", name)
}

func (f Format) String() string { return formats[f].name }

// Bytes returns the bytes of one element on the wire.
func (f Format) Bytes() int { return formats[f].bytes }

// MaxTerms returns the largest number of micro-batches in a step.
func (f Format) MaxTerms() int { return formats[f].maxTerms }

// Grid rounds the gradients of one layout. It holds no sums and no exponents, so one Grid serves all
// goroutines.
type Grid struct {
	layout *Layout
	format Format
	terms  int
	bits   int     // Magnitude bits of one term.
	limit  float64 // 2^bits − 1, the largest term.
}

// NewGrid returns the grid for steps of at most terms micro-batches. It refuses terms below 1 or
// above what the format holds.
func NewGrid(l *Layout, f Format, terms int) (*Grid, error) {
	if int(f) >= len(formats) {
		return nil, fmt.Errorf("wire format must be int32 (0) or int16 (1), got %d", f)
	}
	if terms < 1 || terms > f.MaxTerms() {
		return nil, fmt.Errorf("gradient_accumulation_steps must be from 1 to %d with wire format %s, got %d", f.MaxTerms(), f, terms)
	}
	g := &Grid{layout: l, format: f, terms: terms, bits: formats[f].bits - bits.Len(uint(terms-1))}
	g.limit = float64(int64(1)<<g.bits - 1)
	return g, nil
}

// Layout returns the tensors and blocks that the grid is for.
func (g *Grid) Layout() *Layout { return g.layout }

// Format returns the wire format that the grid is for.
func (g *Grid) Format() Format { return g.format }

// Terms returns M, the number of micro-batches whose sum cannot wrap.
func (g *Grid) Terms() int { return g.terms }

// Next writes to dst the grid exponents of the next step. prev are this step's grid exponents and
// needed is what this step's micro-batches needed, over all ranks; all have one entry for each block.
//
//	E = max(needed + growth, max over the tensor of needed + growth − wake)
//
// The second term is the floor under a block that is small or zero now and may wake up: with Int32
// it may reach its tensor's present maximum, with Int16 a sixteenth of it. A tensor that is zero
// throughout, and a NonFinite block, tell nothing and keep prev. dst may be prev.
func (g *Grid) Next(dst, prev, needed []int8) {
	for _, t := range g.layout.tensors {
		lo, hi := t.Block, t.Block+t.Blocks
		g.nextTensor(dst[lo:hi], prev[lo:hi], needed[lo:hi])
	}
}

func (g *Grid) nextTensor(dst, prev, needed []int8) {
	top := MinExponent
	for _, n := range needed {
		if n != NonFinite {
			top = max(top, n)
		}
	}
	if top == MinExponent {
		copy(dst, prev)
		return
	}
	growth := formats[g.format].growth
	floor := max(int(top)+growth-formats[g.format].wake, int(MinExponent))
	for i, n := range needed {
		if n == NonFinite {
			dst[i] = prev[i]
			continue
		}
		dst[i] = int8(max(int(n)+growth, floor))
	}
}

// Calibrate returns the grid exponents for a first step from what a first pass over the same
// micro-batches needed, over all ranks. A first pass may use any exponents, such as NewNeeded's.
func (g *Grid) Calibrate(needed []int8) Exponents {
	e := NewNeeded(len(needed))
	g.Next(e, e, needed)
	return e
}

// Raise writes to dst the exponents with which an overflowed step is computed again: exps, and for
// each block that needs more, what Next would give it. It never lowers one. dst may be exps.
func (g *Grid) Raise(dst, exps, needed []int8) {
	for i, e := range exps {
		dst[i] = e
		if n := needed[i]; n > e && n != NonFinite {
			dst[i] = int8(int(n) + formats[g.format].growth)
		}
	}
}
