package kernel

// genericSet is the kernel set in plain Go. Products are rounded before they are added (the conversions forbid fusing),
// so its bits are the same on every architecture, and differ from those of the sets with fused multiply-adds.
var genericSet = &kernelSet{
	name: "generic", mr: 4, nr: 4,
	strip:    stripGeneric,
	packRows: packRowsGeneric,
	packCopy: packCopyGeneric,
	turn:     turnGeneric,
	vectors:  &genericVectors,
}

func stripGeneric(t *strip, s *Scratch) { eachTile(t, s, tileGeneric) }

func tileGeneric(t *strip, s *Scratch) {
	if t.byRows {
		tileByRows(t)
		return
	}
	if t.rows == 4 && t.cols == 4 {
		tile4x4(t)
		return
	}
	part := *t
	part.rows, part.cols, part.ldc, part.bias = 4, 4, 4, nil
	part.c = s.edge[:16]
	clear(part.c)
	if t.load {
		copyTile(part.c, 4, t.c, t.ldc, t.rows, t.cols)
	}
	tile4x4(&part)
	storeEdge(t, part.c, 4)
}

// tileByRows computes a tile whose A lies in rows, one element at a time.
func tileByRows(t *strip) {
	for i := range t.rows {
		for j := range t.cols {
			var sum float32
			if t.load {
				sum = t.c[i*t.ldc+j]
			}
			for k := range t.kc {
				sum += float32(t.a[i*t.lda+k] * t.b[k*4+j])
			}
			t.c[i*t.ldc+j] = sum
		}
	}
}

// copyTile copies rows×cols elements between matrices.
func copyTile(dst []float32, ldd int, src []float32, lds int, rows, cols int) {
	for i := range rows {
		copy(dst[i*ldd:][:cols], src[i*lds:][:cols])
	}
}

// storeEdge writes a partial tile, computed in full in src, to its place and adds the bias.
func storeEdge(t *strip, src []float32, ld int) {
	copyTile(t.c, t.ldc, src, ld, t.rows, t.cols)
	if t.bias == nil {
		return
	}
	for i := range t.rows {
		row := t.c[i*t.ldc:][:t.cols]
		for j := range row {
			row[j] += t.bias[j]
		}
	}
}

func tile4x4(t *strip) {
	for i := 0; i < 4; i += 2 {
		row0, row1 := t.c[i*t.ldc:][:4], t.c[(i+1)*t.ldc:][:4]
		tile2x4(t.kc, t.a[i:], t.lda, t.b, row0, row1, t.load)
		if t.bias != nil {
			for j := range 4 {
				row0[j] += t.bias[j]
				row1[j] += t.bias[j]
			}
		}
	}
}

// tile2x4 computes two rows of a tile; eight sums fit the registers.
func tile2x4(kc int, a []float32, lda int, b []float32, row0, row1 []float32, load bool) {
	var s00, s01, s02, s03, s10, s11, s12, s13 float32
	if load {
		s00, s01, s02, s03 = row0[0], row0[1], row0[2], row0[3]
		s10, s11, s12, s13 = row1[0], row1[1], row1[2], row1[3]
	}
	b = b[:4*kc]
	for len(b) >= 4 && len(a) >= 2 {
		a0, a1 := a[0], a[1]
		b0, b1, b2, b3 := b[0], b[1], b[2], b[3]
		s00 += float32(a0 * b0)
		s01 += float32(a0 * b1)
		s02 += float32(a0 * b2)
		s03 += float32(a0 * b3)
		s10 += float32(a1 * b0)
		s11 += float32(a1 * b1)
		s12 += float32(a1 * b2)
		s13 += float32(a1 * b3)
		b = b[4:]
		a = a[min(lda, len(a)):]
	}
	row0[0], row0[1], row0[2], row0[3] = s00, s01, s02, s03
	row1[0], row1[1], row1[2], row1[3] = s10, s11, s12, s13
}

func packRowsGeneric(dst []float32, width int, rows []*float32, kc int) {
	for i, p := range rows {
		for k, x := range at(p, kc) {
			dst[k*width+i] = x
		}
	}
	for i := len(rows); i < width; i++ {
		for k := range kc {
			dst[k*width+i] = 0
		}
	}
}

func packCopyGeneric(dst []float32, width int, src []float32, stride, n, fill, kc int) {
	for k := range kc {
		row := dst[k*width:][:fill]
		copy(row, src[k*stride:][:n])
		clear(row[n:])
	}
}

func turnGeneric(dst []float32, stride int, rows []*float32, n int) {
	for i, p := range rows {
		for k, x := range at(p, n) {
			dst[k*stride+i] = x
		}
	}
}
