//go:build !noasm

package kernel

var avx512Set = &kernelSet{
	name: "avx512", mr: 14, nr: 32,
	tile:     tileAVX512,
	packRows: packRowsAVX512,
	packCopy: packCopyAVX512,
	vectors:  &avx512Vectors,
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

// tileAVX512 picks the micro-kernel for the number of rows. Calls by name, not through a table, keep the arguments on
// the stack.
func tileAVX512(t *tile, _ *Scratch) {
	a, b, c, bias, mask := &t.a[0], &t.b[0], &t.c[0], first(t.bias), lanes(t.cols)
	kc, ldc, load := t.kc, t.ldc*4, 0
	if t.load {
		load = 1
	}
	if t.cols > 16 {
		tileWide(t.rows, kc, a, b, c, ldc, load, bias, mask)
	} else {
		tileNarrow(t.rows, kc, a, b, c, ldc, load, bias, mask)
	}
}

// tileWide computes up to 32 columns.
func tileWide(rows, kc int, a, b, c *float32, ldc, load int, bias *float32, mask uint64) {
	switch rows {
	case 1:
		tile1x32(kc, a, b, c, ldc, load, bias, mask)
	case 2:
		tile2x32(kc, a, b, c, ldc, load, bias, mask)
	case 3:
		tile3x32(kc, a, b, c, ldc, load, bias, mask)
	case 4:
		tile4x32(kc, a, b, c, ldc, load, bias, mask)
	case 5:
		tile5x32(kc, a, b, c, ldc, load, bias, mask)
	case 6:
		tile6x32(kc, a, b, c, ldc, load, bias, mask)
	case 7:
		tile7x32(kc, a, b, c, ldc, load, bias, mask)
	case 8:
		tile8x32(kc, a, b, c, ldc, load, bias, mask)
	case 9:
		tile9x32(kc, a, b, c, ldc, load, bias, mask)
	case 10:
		tile10x32(kc, a, b, c, ldc, load, bias, mask)
	case 11:
		tile11x32(kc, a, b, c, ldc, load, bias, mask)
	case 12:
		tile12x32(kc, a, b, c, ldc, load, bias, mask)
	case 13:
		tile13x32(kc, a, b, c, ldc, load, bias, mask)
	case 14:
		tile14x32(kc, a, b, c, ldc, load, bias, mask)
	}
}

// tileNarrow computes up to 16 columns, at twice the speed.
func tileNarrow(rows, kc int, a, b, c *float32, ldc, load int, bias *float32, mask uint64) {
	switch rows {
	case 1:
		tile1x32narrow(kc, a, b, c, ldc, load, bias, mask)
	case 2:
		tile2x32narrow(kc, a, b, c, ldc, load, bias, mask)
	case 3:
		tile3x32narrow(kc, a, b, c, ldc, load, bias, mask)
	case 4:
		tile4x32narrow(kc, a, b, c, ldc, load, bias, mask)
	case 5:
		tile5x32narrow(kc, a, b, c, ldc, load, bias, mask)
	case 6:
		tile6x32narrow(kc, a, b, c, ldc, load, bias, mask)
	case 7:
		tile7x32narrow(kc, a, b, c, ldc, load, bias, mask)
	case 8:
		tile8x32narrow(kc, a, b, c, ldc, load, bias, mask)
	case 9:
		tile9x32narrow(kc, a, b, c, ldc, load, bias, mask)
	case 10:
		tile10x32narrow(kc, a, b, c, ldc, load, bias, mask)
	case 11:
		tile11x32narrow(kc, a, b, c, ldc, load, bias, mask)
	case 12:
		tile12x32narrow(kc, a, b, c, ldc, load, bias, mask)
	case 13:
		tile13x32narrow(kc, a, b, c, ldc, load, bias, mask)
	case 14:
		tile14x32narrow(kc, a, b, c, ldc, load, bias, mask)
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
