package kernel

// The column sums are over dense rows of n columns, in float64, where gradients of norms and biases would lose too much in
// float32: one chain of additions a column, rows in ascending order. They overwrite their results. The bits do not depend
// on threads when long columns are cut into chunks of fixed length whose sums are combined in order.

// ColumnSums computes sum = Σ x by column; n = len(sum).
func ColumnSums(sum []float64, x []float32) {
	rows := rowsOf(x, len(sum))
	if rows == 0 {
		clear(sum)
		return
	}
	for from, to := range columnBlocks(len(sum), rows) {
		columnSumsStep(sum[from:to], x[from:], rows, len(sum))
	}
}

// ColumnSquares computes sum = Σ x and square = Σ x² by column; n = len(sum).
func ColumnSquares(sum, square []float64, x []float32) {
	checkSame(len(sum), len(square))
	rows := rowsOf(x, len(sum))
	if rows == 0 {
		clear(sum)
		clear(square)
		return
	}
	for from, to := range columnBlocks(len(sum), rows) {
		columnSquaresStep(sum[from:to], square[from:to], x[from:], rows, len(sum))
	}
}

// ColumnProducts computes sum = Σ dy and product = Σ dy·x by column; n = len(sum).
func ColumnProducts(sum, product []float64, dy, x []float32) {
	checkSame(len(sum), len(product))
	checkSame(len(x), len(dy))
	rows := rowsOf(x, len(sum))
	if rows == 0 {
		clear(sum)
		clear(product)
		return
	}
	for from, to := range columnBlocks(len(sum), rows) {
		columnProductsStep(sum[from:to], product[from:to], dy[from:], x[from:], rows, len(sum))
	}
}

func rowsOf(x []float32, n int) int {
	checkRows(len(x), n)
	if n == 0 {
		return 0
	}
	return len(x) / n
}

// columnBlocks cuts n columns into blocks of whole groups, so that a call into assembly takes chunkElements where that is
// a group or more.
func columnBlocks(n, rows int) func(yield func(from, to int) bool) {
	const group = 16
	width := max(group, chunkElements/rows/group*group)
	return func(yield func(from, to int) bool) {
		for from := 0; from < n && yield(from, min(n, from+width)); from += width {
		}
	}
}

//go:noinline
func columnSumsStep(sum []float64, x []float32, rows, stride int) {
	active.vectors.columnSums(&x[0], &sum[0], rows, len(sum), 4*stride)
}

//go:noinline
func columnSquaresStep(sum, square []float64, x []float32, rows, stride int) {
	active.vectors.columnSquares(&x[0], &sum[0], &square[0], rows, len(sum), 4*stride)
}

//go:noinline
func columnProductsStep(sum, product []float64, dy, x []float32, rows, stride int) {
	active.vectors.columnProducts(&dy[0], &x[0], &sum[0], &product[0], rows, len(sum), 4*stride)
}

// The twins. stride is in bytes, as in the assembly.

func columnSumsGeneric(x *float32, sum *float64, rows, n, stride int) {
	s, ld := at(sum, n), stride/4
	clear(s)
	xs := at(x, (rows-1)*ld+n)
	for r := range rows {
		for j, v := range xs[r*ld:][:n] {
			s[j] += float64(v)
		}
	}
}

func columnSquaresGeneric(x *float32, sum, square *float64, rows, n, stride int) {
	s, q, ld := at(sum, n), at(square, n), stride/4
	clear(s)
	clear(q)
	xs := at(x, (rows-1)*ld+n)
	for r := range rows {
		for j, v := range xs[r*ld:][:n] {
			s[j] += float64(v)
			q[j] += float64(v) * float64(v) // Exact, fused or not.
		}
	}
}

func columnProductsGeneric(dy, x *float32, sum, product *float64, rows, n, stride int) {
	s, q, ld := at(sum, n), at(product, n), stride/4
	clear(s)
	clear(q)
	xs, g := at(x, (rows-1)*ld+n), at(dy, (rows-1)*ld+n)
	for r := range rows {
		row := xs[r*ld:][:n]
		for j, v := range g[r*ld:][:n] {
			s[j] += float64(v)
			q[j] += float64(v) * float64(row[j]) // Exact, fused or not.
		}
	}
}
