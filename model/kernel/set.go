package kernel

import (
	"fmt"

	"yohaku/internal/isa"
)

// maxWidth bounds mr and nr of every kernel set.
const maxWidth = 32

// kernelSet is the arithmetic of one instruction set: the names, the shape of a tile and its functions.
type kernelSet struct {
	name   string
	mr, nr int // Rows and columns of a full tile.

	direct bool // The tile function takes operands that are not packed.

	// strip computes the tiles of a strip; t is lost. s lends memory for partial tiles.
	strip func(t *strip, s *Scratch)
	// packRows writes dst[k*width+i] = rows[i][k] for k < kc, and anything finite that is in rows for i in
	// [len(rows), width): it enters only sums that are not stored.
	packRows func(dst []float32, width int, rows []*float32, kc int)
	// packCopy writes dst[k*width+i] = src[k*stride+i] for i < n and k < kc, and zeros for i in [n, fill).
	packCopy func(dst []float32, width int, src []float32, stride, n, fill, kc int)
	// turn writes dst[k*stride+i] = rows[i][k] for k < n and i < len(rows) ≤ 16.
	turn func(dst []float32, stride int, rows []*float32, n int)

	vectors *vectorSet
	half    *halfSet // Products of bf16; set by available.
	// heads are attention's passes for heads of few channels, by their number, where they beat tiles. The bits are the same.
	heads map[int]*headPasses
}

// strip is some tiles of a product, one below the other:
//
//	c[i*ldc+j] (+)= Σ_k a[k, i]·b[k*nr+j] (+ bias[j]),  i < rows, j < cols, k < kc
//
// a[k, i] is a[k*lda+i], or a[i*lda+k] with byRows, for the rows of the first tile; each further tile, of step rows, has
// its part of A aStep elements on. With load the sums start at c, otherwise at 0.
type strip struct {
	rows, cols, kc int
	step, aStep    int // step is at most mr.
	a, b, c        []float32
	byRows         bool
	lda, ldc       int
	load           bool
	bias           []float32 // nil, or at least cols long.
}

// eachTile calls one for each tile of t.
func eachTile(t *strip, s *Scratch, one func(t *strip, s *Scratch)) {
	rows, a, c := t.rows, t.a, t.c
	for r := 0; r < rows; r += t.step {
		t.rows = min(t.step, rows-r)
		t.a, t.c = a[r/t.step*t.aStep:], c[r*t.ldc:]
		one(t, s)
	}
}

// active is the kernel set in use. Only tests change it after the start.
var active, setErr = choose(isa.Asked(), available())

// Set is the name of the kernel set in use, "avx512", "avx2" or "generic": the best that the processor has, or a lower
// one named by the environment variable YOHAKU_KERNELS. Results are comparable bit for bit within a set.
func Set() string { return active.name }

// CheckSet returns an error when YOHAKU_KERNELS names a set that does not exist or that this processor or build lacks.
// The best available set is used then. Commands call it at the start.
func CheckSet() error { return setErr }

// choose picks the set by name from those available, best first; an empty name is the best.
func choose(name string, sets []*kernelSet) (*kernelSet, error) {
	if name == "" {
		return sets[0], nil
	}
	for _, s := range sets {
		if s.name == name {
			return s, nil
		}
	}
	names := make([]string, len(sets))
	for i, s := range sets {
		names[i] = s.name
	}
	return sets[0], fmt.Errorf("%s is %q, but this processor and build have %q; unset it or name one of these", isa.Variable, name, names)
}
