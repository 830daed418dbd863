//go:build !noasm

package kernel

var avx2Set = &kernelSet{
	name: "avx2", mr: 6, nr: 16,
	direct:   true,
	strip:    stripAVX2,
	packRows: packRowsAVX2,
	packCopy: packCopyAVX2,
	turn:     turnGeneric,
	vectors:  &avx2Vectors,
}

func stripAVX2(t *strip, s *Scratch) { eachTile(t, s, tileAVX2) }

// tileAVX2 computes partial columns in a full tile of scratch: AVX2 has no cheap masks.
func tileAVX2(t *strip, s *Scratch) {
	if t.cols == 16 {
		tileFullAVX2(t, t.c, t.ldc, t.bias)
		return
	}
	edge := s.edge[:6*16]
	if t.load {
		copyTile(edge, 16, t.c, t.ldc, t.rows, t.cols)
	}
	tileFullAVX2(t, edge, 16, nil)
	storeEdge(t, edge, 16)
}

func tileFullAVX2(t *strip, c []float32, ldc int, bias []float32) {
	load := 0
	if t.load {
		load = 1
	}
	_ = c[(t.rows-1)*ldc+15]
	if t.byRows {
		tile16Rows(t.rows, t.kc, &t.a[0], &t.b[0], &c[0], t.lda*4, ldc*4, load, first(bias))
	} else {
		tile16(t.rows, t.kc, &t.a[0], &t.b[0], &c[0], t.lda*4, ldc*4, load, first(bias))
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
