package kernel

import "fmt"

// GemmArgs describes C = op(A)·op(B), plus C before the call when Accumulate is set, plus Bias[j] in column j when Bias
// is not nil.
//
// All matrices are row-major float32 with leading dimensions (elements from one row to the next). op transposes when
// TransA or TransB is set; op(A) is M×K, op(B) is K×N, C is M×N. Elements of C's rows past N are not touched.
// C must not overlap A, B or Bias.
//
// Bits: element (i, j) starts at 0, or at C[i, j] with Accumulate, takes K fused multiply-adds in ascending k (the set
// generic rounds each product), then Bias[j].
type GemmArgs struct {
	TransA, TransB bool
	M, N, K        int
	A              []float32
	LDA            int
	B              []float32
	LDB            int
	C              []float32
	LDC            int
	Accumulate     bool
	Bias           []float32

	// BF16 rounds A and B to bf16. The element then takes, for each pair (k, k+1), the odd product first.
	BF16 bool
	// HalfA and HalfB, unless nil, are the operands, in bf16 already, in the place of A and B; BF16 must be set.
	HalfA, HalfB []Half
}

// serialFlops is the work below which a second thread costs more than it brings.
const serialFlops = 1 << 20

// Gemm computes the product on the pool's threads. It panics when a slice is shorter than its shape.
func (p *Pool) Gemm(a *GemmArgs) {
	g := &p.gemm
	if !g.prepareGemm(a) {
		return
	}
	g.compute(p)
}

// GemmSerial computes the product in the calling goroutine, for use inside a task of Run. Each concurrent caller needs
// its own Scratch.
func GemmSerial(a *GemmArgs, s *Scratch) {
	g := &s.gemm
	if !g.prepareGemm(a) {
		return
	}
	g.computeSerial(s)
}

// Scratch is the working memory of one thread. The zero value is ready; it grows to the largest problem seen.
type Scratch struct {
	packed    []float32 // Panels packed ahead, in serial products.
	streamed  []float32 // Panels of the running block.
	strip     strip
	edge      [maxWidth * maxWidth]float32
	rows      [maxWidth]*float32
	halves    [maxWidth]*Half
	zeros     []float32 // A row of zeros for pixels outside an image.
	gemm      product
	one       [1]*Scratch
	attention attentionScratch
	winograd  winogradScratch
}

// grow returns a slice of n elements, s itself when it is large enough. The content is arbitrary.
func grow(s []float32, n int) []float32 {
	if cap(s) < n {
		return Slab(n)
	}
	return s[:n]
}

// prepareGemm checks the shapes, sets g up and reports whether there is anything left to compute.
func (g *product) prepareGemm(a *GemmArgs) bool {
	a.check()
	if a.M == 0 || a.N == 0 {
		return false
	}
	g.use(active, a.BF16)
	g.matrixA = matrix{data: a.A, ld: a.LDA, alongK: !a.TransA}
	g.matrixB = matrix{data: a.B, ld: a.LDB, alongK: a.TransB}
	var left, right source = &g.matrixA, &g.matrixB
	if a.HalfA != nil {
		g.halfA = matrixHalf{data: a.HalfA, ld: a.LDA, alongK: !a.TransA}
		left = &g.halfA
	}
	if a.HalfB != nil {
		g.halfB = matrixHalf{data: a.HalfB, ld: a.LDB, alongK: a.TransB}
		right = &g.halfB
	}
	g.prepare(a.M, a.N, a.K, left, right, a.C, a.LDC)
	g.accumulate, g.bias = a.Accumulate, a.Bias
	return true
}

// use sets the arithmetic.
func (g *product) use(set *kernelSet, bf16 bool) { g.set, g.depth = arithmetic(set, bf16) }

// arithmetic is the set of the products and the values of k in a row of its panels.
func arithmetic(set *kernelSet, bf16 bool) (products *kernelSet, depth int) {
	if bf16 {
		return set.half.set, set.half.depth
	}
	return set, 1
}

func (a *GemmArgs) check() {
	if a.M < 0 || a.N < 0 || a.K < 0 {
		panic(fmt.Sprintf("kernel: Gemm of negative size %d×%d×%d", a.M, a.N, a.K))
	}
	ar, ac, br, bc := a.M, a.K, a.K, a.N
	if a.TransA {
		ar, ac = ac, ar
	}
	if a.TransB {
		br, bc = bc, br
	}
	if (a.HalfA != nil || a.HalfB != nil) && !a.BF16 {
		panic("kernel: Gemm of bf16 operands needs BF16 set")
	}
	checkMatrix("A", ar, ac, a.LDA, length(a.A, a.HalfA))
	checkMatrix("B", br, bc, a.LDB, length(a.B, a.HalfB))
	checkMatrix("C", a.M, a.N, a.LDC, len(a.C))
	if a.Bias != nil && len(a.Bias) < a.N {
		panic(fmt.Sprintf("kernel: bias has %d elements, C has %d columns", len(a.Bias), a.N))
	}
}

// length is that of the operand in use.
func length(x []float32, half []Half) int {
	if half != nil {
		return len(half)
	}
	return len(x)
}

func checkMatrix(name string, rows, cols, ld, length int) {
	if rows == 0 || cols == 0 {
		return
	}
	if ld < cols || length < (rows-1)*ld+cols {
		panic(fmt.Sprintf("kernel: %s is %d×%d with leading dimension %d but has %d elements", name, rows, cols, ld, length))
	}
}
