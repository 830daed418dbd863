package kernel

// The transforms of convolution by tiles of 2×2 pixels, with
//
//	    ⎡1  0 −1  0⎤       ⎡1  0  0⎤       ⎡1  1  1  0⎤
//	Bᵀ =⎢0  1  1  0⎥   G = ⎢½  ½  ½⎥  Aᵀ = ⎣0  1 −1 −1⎦
//	    ⎢0 −1  1  0⎥       ⎢½ −½  ½⎥
//	    ⎣0  1  0 −1⎦       ⎣0  0  1⎦
//
// The functions of this file are the specification: every assembly variant gives these bits. Steps are in bytes.

// The four combinations of Bᵀ.
func inputStep(which int, a, b, c, d float32) float32 {
	switch which {
	case 0:
		return a - c
	case 1:
		return b + c
	case 2:
		return c - b
	}
	return b - d
}

// tileInputGeneric writes Bᵀ·d·B for n channels.
func tileInputGeneric(dst *float32, src **float32, n, step int) {
	ld, pixels := step/4, at(src, 16)
	out := at(dst, 15*ld+n)
	var in [16][]float32
	for i, p := range pixels {
		in[i] = at(p, n)
	}
	for c := range n {
		for row := range 4 {
			var t [4]float32
			for j := range t {
				t[j] = inputStep(row, in[j][c], in[4+j][c], in[8+j][c], in[12+j][c])
			}
			for column := range 4 {
				out[(4*row+column)*ld+c] = inputStep(column, t[0], t[1], t[2], t[3])
			}
		}
	}
}

// The four combinations of A.
func gradientStep(which int, a, b float32) float32 {
	switch which {
	case 0:
		return a
	case 1:
		return a + b
	case 2:
		return a - b
	}
	return 0 - b
}

// tileGradientGeneric writes A·dy·Aᵀ for n channels.
func tileGradientGeneric(dst *float32, src **float32, n, step int) {
	ld, pixels := step/4, at(src, 4)
	out := at(dst, 15*ld+n)
	var in [4][]float32
	for i, p := range pixels {
		in[i] = at(p, n)
	}
	for c := range n {
		for row := range 4 {
			left, right := gradientStep(row, in[0][c], in[2][c]), gradientStep(row, in[1][c], in[3][c])
			for column := range 4 {
				out[(4*row+column)*ld+c] = gradientStep(column, left, right)
			}
		}
	}
}

// The two combinations of Aᵀ.
func outputStep(which int, a, b, c, d float32) float32 {
	if which == 0 {
		return a + b + c
	}
	return b - c - d
}

// tileOutputGeneric writes Aᵀ·m·A + old + bias for n channels.
func tileOutputGeneric(dst, old **float32, src, bias *float32, n, step int) {
	ld := step / 4
	m, b := at(src, 15*ld+n), at(bias, n)
	dsts, olds := at(dst, 4), at(old, 4)
	for c := range n {
		for row := range 2 {
			var t [4]float32
			for j := range t {
				t[j] = outputStep(row, m[j*ld+c], m[(4+j)*ld+c], m[(8+j)*ld+c], m[(12+j)*ld+c])
			}
			for column := range 2 {
				q := 2*row + column
				at(dsts[q], n)[c] = outputStep(column, t[0], t[1], t[2], t[3]) + at(olds[q], n)[c] + b[c]
			}
		}
	}
}

// The four combinations of G.
func weightStep(which int, a, b, c float32) float32 {
	switch which {
	case 0:
		return a
	case 1:
		return float32(0.5*(a+c)) + float32(0.5*b)
	case 2:
		return float32(0.5*(a+c)) - float32(0.5*b)
	}
	return c
}

// weightPointsGeneric writes G·g·Gᵀ for rows of n columns.
func weightPointsGeneric(dst, src *float32, rows, n, dstRow, srcRow, dstPoint, srcTap int) {
	for r := range rows {
		for i := range n {
			var g [9]float32
			for tap := range g {
				g[tap] = *offset(src, r*srcRow+tap*srcTap+4*i)
			}
			for row := range 4 {
				var t [3]float32
				for j := range t {
					t[j] = weightStep(row, g[j], g[3+j], g[6+j])
				}
				for column := range 4 {
					*offset(dst, r*dstRow+(4*row+column)*dstPoint+4*i) = weightStep(column, t[0], t[1], t[2])
				}
			}
		}
	}
}

// The three combinations of Gᵀ.
func tapStep(which int, a, b, c, d float32) float32 {
	switch which {
	case 0:
		return a + float32(0.5*(b+c))
	case 1:
		return float32(0.5 * (b - c))
	}
	return float32(0.5*(b+c)) + d
}

// weightTapsGeneric writes Gᵀ·m·G + old for n columns.
func weightTapsGeneric(dst, old, src *float32, n, dstTap, oldTap, step int) {
	ld := step / 4
	m := at(src, 15*ld+n)
	for i := range n {
		for row := range 3 {
			var t [4]float32
			for j := range t {
				t[j] = tapStep(row, m[j*ld+i], m[(4+j)*ld+i], m[(8+j)*ld+i], m[(12+j)*ld+i])
			}
			for column := range 3 {
				tap := 3*row + column
				*offset(dst, tap*dstTap+4*i) = tapStep(column, t[0], t[1], t[2], t[3]) + *offset(old, tap*oldTap+4*i)
			}
		}
	}
}
