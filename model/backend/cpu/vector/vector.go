package vector

// All slices of one call have the first one's length, unless a comment says otherwise. A longer slice is cut, a
// shorter one panics.

// LineSiLUGradient is g = dy·silu'(a·x + b).
func LineSiLUGradient(g, dy, x, a, b []float32) {
	n := len(g)
	dy, x, a, b = dy[:n], x[:n], a[:n], b[:n]
	w := whole(n)
	if w > 0 {
		lineSiLUGradientAsm(&g[0], &dy[0], &x[0], &a[0], &b[0], w)
	}
	lineSiLUGradientTwin(g[w:], dy[w:], x[w:], a[w:], b[w:])
}

// GEGLU is y = v·gelu(g).
func GEGLU(y, v, g []float32) {
	n := len(y)
	v, g = v[:n], g[:n]
	w := whole(n)
	if w > 0 {
		gegluAsm(&y[0], &v[0], &g[0], w)
	}
	gegluTwin(y[w:], v[w:], g[w:])
}

// GEGLUGradient is dv = dy·gelu(g), dg = dy·v·gelu'(g). dv and dg may be v and g.
func GEGLUGradient(dv, dg, v, g, dy []float32) {
	n := len(dy)
	dv, dg, v, g = dv[:n], dg[:n], v[:n], g[:n]
	w := whole(n)
	if w > 0 {
		gegluGradientAsm(&dv[0], &dg[0], &v[0], &g[0], &dy[0], w)
	}
	gegluGradientTwin(dv[w:], dg[w:], v[w:], g[w:], dy[w:])
}

// ColumnSums sets sum[c] = Σ_r x[r·stride+c] over rows rows, one chain a column.
func ColumnSums(sum []float64, x []float32, rows, stride int) {
	checkRows(x, rows, stride, len(sum))
	w := whole(len(sum))
	for c := 0; c < w; c += 8 {
		columnSumsAsm(&sum[c], &x[c], rows, stride)
	}
	columnSumsTwin(sum[w:], x[w:], rows, stride)
}

// ColumnSquares sets sum as ColumnSums does, and square[c] = Σ_r x[r·stride+c]².
func ColumnSquares(sum, square []float64, x []float32, rows, stride int) {
	checkRows(x, rows, stride, len(sum))
	square = square[:len(sum)]
	w := whole(len(sum))
	for c := 0; c < w; c += 8 {
		columnSquaresAsm(&sum[c], &square[c], &x[c], rows, stride)
	}
	columnSquaresTwin(sum[w:], square[w:], x[w:], rows, stride)
}

// ColumnProducts sets sum[c] = Σ_r g[r·stride+c] and product[c] = Σ_r g[r·stride+c]·x[r·stride+c].
func ColumnProducts(sum, product []float64, g, x []float32, rows, stride int) {
	checkRows(x, rows, stride, len(sum))
	checkRows(g, rows, stride, len(sum))
	product = product[:len(sum)]
	w := whole(len(sum))
	for c := 0; c < w; c += 8 {
		columnProductsAsm(&sum[c], &product[c], &g[c], &x[c], rows, stride)
	}
	columnProductsTwin(sum[w:], product[w:], g[w:], x[w:], rows, stride)
}

// checkRows panics when x does not hold columns columns of rows rows, of which there must be one.
func checkRows(x []float32, rows, stride, columns int) {
	if rows < 1 || stride < columns || len(x) < (rows-1)*stride+columns {
		panic("vector: column sums reach outside their matrix")
	}
}

// Moments returns the mean of x and the mean square of x less its mean, in float64 over eight lanes.
func Moments(x []float32) (mean, variance float64) {
	var l lanes
	w := whole(len(x))
	if w > 0 {
		laneSumsAsm(&l[0], &x[0], w)
	}
	laneSumsTwin(&l, x[w:])
	mean = l.total() / float64(len(x))
	l = lanes{}
	if w > 0 {
		laneSquaresAsm(&l[0], &x[0], w, mean)
	}
	laneSquaresTwin(&l, x[w:], mean)
	return mean, l.total() / float64(len(x))
}

// LayerNormGradient is, with x̂ = (x−mean)·inverse, dx = inverse·(γ·dy − mean(γ·dy) − x̂·mean(γ·dy·x̂)); it adds dy
// to db and dy·x̂ to dg. dx may be x or dy.
func LayerNormGradient(dx []float32, db, dg []float64, x, dy, gamma []float32, mean, inverse float32) {
	n := len(dx)
	db, dg, x, dy, gamma = db[:n], dg[:n], x[:n], dy[:n], gamma[:n]
	var l [2]lanes
	w := whole(n)
	if w > 0 {
		layerNormSumsAsm(&l[0][0], &db[0], &dg[0], &x[0], &dy[0], &gamma[0], w, mean, inverse)
	}
	layerNormSumsTwin(&l[0], &l[1], db[w:], dg[w:], x[w:], dy[w:], gamma[w:], mean, inverse)
	sum, product := float32(l[0].total()/float64(n)), float32(l[1].total()/float64(n))
	if w > 0 {
		layerNormGradientAsm(&dx[0], &x[0], &dy[0], &gamma[0], w, mean, inverse, sum, product)
	}
	layerNormGradientTwin(dx[w:], x[w:], dy[w:], gamma[w:], mean, inverse, sum, product)
}
