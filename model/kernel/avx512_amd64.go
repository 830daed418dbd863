//go:build !noasm

package kernel

var avx512Set = &kernelSet{
	name: "avx512", mr: 14, nr: 32,
	direct:   true,
	strip:    stripAVX512,
	packRows: packRowsAVX512,
	packCopy: packCopyAVX512,
	turn:     turnAVX512,
	vectors:  &avx512Vectors,
	heads: map[int]*headPasses{
		4:  {scores: headScores4, weigh: headWeigh4, grad: headGrad4},
		8:  {scores: headScores8, weigh: headWeigh8, grad: headGrad8},
		16: {scores: headScores16, weigh: headWeigh16, grad: headGrad16},
	},
}

// lanes has the lowest n bits set.
func lanes(n int) uint64 { return 1<<uint(n) - 1 }

// first is the address of x's first element, or nil.
func first(x []float32) *float32 {
	if len(x) == 0 {
		return nil
	}
	return &x[0]
}

func stripAVX512(t *strip, _ *Scratch) {
	for r, at := 0, 0; r < t.rows; r, at = r+t.step, at+t.aStep {
		tileAVX512(t, min(t.step, t.rows-r), &t.a[at], &t.c[r*t.ldc])
	}
}

// tileAVX512 picks the micro-kernel for the shape. Calls by name, not through a table, keep the arguments on the stack.
func tileAVX512(t *strip, rows int, a, c *float32) {
	b, bias, mask := &t.b[0], first(t.bias), lanes(t.cols)
	kc, lda, ldc, load := t.kc, t.lda*4, t.ldc*4, 0
	if t.load {
		load = 1
	}
	switch {
	case t.cols > 16 && t.byRows:
		tileWideRows(rows, kc, a, b, c, lda, ldc, load, bias, mask)
	case t.cols > 16:
		tileWide(rows, kc, a, b, c, lda, ldc, load, bias, mask)
	case t.cols <= 8 && t.byRows:
		tileEightRows(rows, kc, a, b, c, lda, ldc, load, bias, mask)
	case t.cols <= 8:
		tileEight(rows, kc, a, b, c, lda, ldc, load, bias, mask)
	case t.byRows:
		tileNarrowRows(rows, kc, a, b, c, lda, ldc, load, bias, mask)
	default:
		tileNarrow(rows, kc, a, b, c, lda, ldc, load, bias, mask)
	}
}

func packRowsAVX512(dst []float32, width int, rows []*float32, kc int) {
	if kc == 0 {
		return
	}
	_ = dst[width*kc-1]
	var block [16]*float32
	for j := 0; j < width; j += 16 {
		for i := range block {
			block[i] = rows[min(j+i, len(rows)-1)]
		}
		transpose16(&dst[j], &block[0], kc, width*4, lanes(min(16, width-j)))
	}
}

func packCopyAVX512(dst []float32, width int, src []float32, stride, n, fill, kc int) {
	if kc == 0 {
		return
	}
	_, _ = dst[(kc-1)*width+fill-1], src[(kc-1)*stride+n-1]
	copyRows512(&dst[0], &src[0], kc, width*4, stride*4, lanes(n), lanes(fill))
}

func turnAVX512(dst []float32, stride int, rows []*float32, n int) {
	if n == 0 {
		return
	}
	_ = dst[(n-1)*stride+len(rows)-1]
	var block [16]*float32
	for i := range block {
		block[i] = rows[min(i, len(rows)-1)]
	}
	transpose16(&dst[0], &block[0], n, stride*4, lanes(len(rows)))
}
