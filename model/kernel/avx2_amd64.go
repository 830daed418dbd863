//go:build !noasm

package kernel

var avx2Set = &kernelSet{
	name: "avx2", mr: 6, nr: 16,
	tile:     tileAVX2,
	packRows: packRowsAVX2,
	packCopy: packCopyAVX2,
	vectors:  &avx2Vectors,
}

// tileAVX2 computes partial columns in a full tile of scratch: AVX2 has no cheap masks.
func tileAVX2(t *tile, s *Scratch) {
	if t.cols == 16 {
		tileRowsAVX2(t.rows, t.kc, t.a, t.b, t.c, t.ldc, t.load, t.bias)
		return
	}
	edge := s.edge[:6*16]
	if t.load {
		copyTile(edge, 16, t.c, t.ldc, t.rows, t.cols)
	}
	tileRowsAVX2(t.rows, t.kc, t.a, t.b, edge, 16, t.load, nil)
	storeEdge(t, edge, 16)
}

func tileRowsAVX2(rows, kc int, a, b, c []float32, ldc int, start bool, bias []float32) {
	load := 0
	if start {
		load = 1
	}
	_ = c[(rows-1)*ldc+15]
	switch rows {
	case 1:
		tile1x16(kc, &a[0], &b[0], &c[0], ldc*4, load, first(bias))
	case 2:
		tile2x16(kc, &a[0], &b[0], &c[0], ldc*4, load, first(bias))
	case 3:
		tile3x16(kc, &a[0], &b[0], &c[0], ldc*4, load, first(bias))
	case 4:
		tile4x16(kc, &a[0], &b[0], &c[0], ldc*4, load, first(bias))
	case 5:
		tile5x16(kc, &a[0], &b[0], &c[0], ldc*4, load, first(bias))
	case 6:
		tile6x16(kc, &a[0], &b[0], &c[0], ldc*4, load, first(bias))
	}
}

// packRowsAVX2 transposes blocks of 8 rows by 8 columns. A panel of 6 takes whole vectors too, each overwriting the
// excess of the one before; the last columns are left to Go, so that nothing is written past the panel.
func packRowsAVX2(dst []float32, width int, rows []*float32, kc int) {
	if kc == 0 {
		return
	}
	_ = dst[width*kc-1]
	blocks := kc / 8
	if width%8 != 0 {
		blocks = (kc - 1) / 8
	}
	var block [8]*float32
	for j := 0; j < width && blocks > 0; j += 8 {
		for i := range block {
			block[i] = rows[min(j+i, len(rows)-1)]
		}
		transpose8(&dst[j], &block[0], blocks, width*4)
	}
	for i := range width {
		row := at(rows[min(i, len(rows)-1)], kc)
		for k := blocks * 8; k < kc; k++ {
			dst[k*width+i] = row[k]
		}
	}
}

func packCopyAVX2(dst []float32, width int, src []float32, stride, n, fill, kc int) {
	if kc == 0 {
		return
	}
	_, _ = dst[(kc-1)*width+fill-1], src[(kc-1)*stride+n-1]
	switch n {
	case 16:
		copyRows16(&dst[0], &src[0], kc, width*4, stride*4)
	case 6:
		copyRows6(&dst[0], &src[0], kc, width*4, stride*4)
	default:
		packCopyGeneric(dst, width, src, stride, n, fill, kc)
	}
}
