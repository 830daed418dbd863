//go:build !noasm

package kernel

// The micro-kernels on pairs of bf16.

// tileWideHalf computes up to 32 columns.
func tileWideHalf(rows, kc int, a, b, c *float32, lda, ldc, load int, bias *float32, mask uint64) {
	switch rows {
	case 1:
		tile1x32Half(kc, a, b, c, lda, ldc, load, bias, mask)
	case 2:
		tile2x32Half(kc, a, b, c, lda, ldc, load, bias, mask)
	case 3:
		tile3x32Half(kc, a, b, c, lda, ldc, load, bias, mask)
	case 4:
		tile4x32Half(kc, a, b, c, lda, ldc, load, bias, mask)
	case 5:
		tile5x32Half(kc, a, b, c, lda, ldc, load, bias, mask)
	case 6:
		tile6x32Half(kc, a, b, c, lda, ldc, load, bias, mask)
	case 7:
		tile7x32Half(kc, a, b, c, lda, ldc, load, bias, mask)
	case 8:
		tile8x32Half(kc, a, b, c, lda, ldc, load, bias, mask)
	case 9:
		tile9x32Half(kc, a, b, c, lda, ldc, load, bias, mask)
	case 10:
		tile10x32Half(kc, a, b, c, lda, ldc, load, bias, mask)
	case 11:
		tile11x32Half(kc, a, b, c, lda, ldc, load, bias, mask)
	case 12:
		tile12x32Half(kc, a, b, c, lda, ldc, load, bias, mask)
	case 13:
		tile13x32Half(kc, a, b, c, lda, ldc, load, bias, mask)
	case 14:
		tile14x32Half(kc, a, b, c, lda, ldc, load, bias, mask)
	}
}

// tileWideHalfRows computes up to 32 columns, A in rows.
func tileWideHalfRows(rows, kc int, a, b, c *float32, lda, ldc, load int, bias *float32, mask uint64) {
	switch rows {
	case 1:
		tile1x32RowsHalf(kc, a, b, c, lda, ldc, load, bias, mask)
	case 2:
		tile2x32RowsHalf(kc, a, b, c, lda, ldc, load, bias, mask)
	case 3:
		tile3x32RowsHalf(kc, a, b, c, lda, ldc, load, bias, mask)
	case 4:
		tile4x32RowsHalf(kc, a, b, c, lda, ldc, load, bias, mask)
	case 5:
		tile5x32RowsHalf(kc, a, b, c, lda, ldc, load, bias, mask)
	case 6:
		tile6x32RowsHalf(kc, a, b, c, lda, ldc, load, bias, mask)
	case 7:
		tile7x32RowsHalf(kc, a, b, c, lda, ldc, load, bias, mask)
	case 8:
		tile8x32RowsHalf(kc, a, b, c, lda, ldc, load, bias, mask)
	case 9:
		tile9x32RowsHalf(kc, a, b, c, lda, ldc, load, bias, mask)
	case 10:
		tile10x32RowsHalf(kc, a, b, c, lda, ldc, load, bias, mask)
	case 11:
		tile11x32RowsHalf(kc, a, b, c, lda, ldc, load, bias, mask)
	case 12:
		tile12x32RowsHalf(kc, a, b, c, lda, ldc, load, bias, mask)
	case 13:
		tile13x32RowsHalf(kc, a, b, c, lda, ldc, load, bias, mask)
	case 14:
		tile14x32RowsHalf(kc, a, b, c, lda, ldc, load, bias, mask)
	}
}

// tileNarrowHalf computes up to 16 columns.
func tileNarrowHalf(rows, kc int, a, b, c *float32, lda, ldc, load int, bias *float32, mask uint64) {
	switch rows {
	case 1:
		tile1x16of32Half(kc, a, b, c, lda, ldc, load, bias, mask)
	case 2:
		tile2x16of32Half(kc, a, b, c, lda, ldc, load, bias, mask)
	case 3:
		tile3x16of32Half(kc, a, b, c, lda, ldc, load, bias, mask)
	case 4:
		tile4x16of32Half(kc, a, b, c, lda, ldc, load, bias, mask)
	case 5:
		tile5x16of32Half(kc, a, b, c, lda, ldc, load, bias, mask)
	case 6:
		tile6x16of32Half(kc, a, b, c, lda, ldc, load, bias, mask)
	case 7:
		tile7x16of32Half(kc, a, b, c, lda, ldc, load, bias, mask)
	case 8:
		tile8x16of32Half(kc, a, b, c, lda, ldc, load, bias, mask)
	case 9:
		tile9x16of32Half(kc, a, b, c, lda, ldc, load, bias, mask)
	case 10:
		tile10x16of32Half(kc, a, b, c, lda, ldc, load, bias, mask)
	case 11:
		tile11x16of32Half(kc, a, b, c, lda, ldc, load, bias, mask)
	case 12:
		tile12x16of32Half(kc, a, b, c, lda, ldc, load, bias, mask)
	case 13:
		tile13x16of32Half(kc, a, b, c, lda, ldc, load, bias, mask)
	case 14:
		tile14x16of32Half(kc, a, b, c, lda, ldc, load, bias, mask)
	}
}

// tileNarrowHalfRows computes up to 16 columns, A in rows.
func tileNarrowHalfRows(rows, kc int, a, b, c *float32, lda, ldc, load int, bias *float32, mask uint64) {
	switch rows {
	case 1:
		tile1x16of32RowsHalf(kc, a, b, c, lda, ldc, load, bias, mask)
	case 2:
		tile2x16of32RowsHalf(kc, a, b, c, lda, ldc, load, bias, mask)
	case 3:
		tile3x16of32RowsHalf(kc, a, b, c, lda, ldc, load, bias, mask)
	case 4:
		tile4x16of32RowsHalf(kc, a, b, c, lda, ldc, load, bias, mask)
	case 5:
		tile5x16of32RowsHalf(kc, a, b, c, lda, ldc, load, bias, mask)
	case 6:
		tile6x16of32RowsHalf(kc, a, b, c, lda, ldc, load, bias, mask)
	case 7:
		tile7x16of32RowsHalf(kc, a, b, c, lda, ldc, load, bias, mask)
	case 8:
		tile8x16of32RowsHalf(kc, a, b, c, lda, ldc, load, bias, mask)
	case 9:
		tile9x16of32RowsHalf(kc, a, b, c, lda, ldc, load, bias, mask)
	case 10:
		tile10x16of32RowsHalf(kc, a, b, c, lda, ldc, load, bias, mask)
	case 11:
		tile11x16of32RowsHalf(kc, a, b, c, lda, ldc, load, bias, mask)
	case 12:
		tile12x16of32RowsHalf(kc, a, b, c, lda, ldc, load, bias, mask)
	case 13:
		tile13x16of32RowsHalf(kc, a, b, c, lda, ldc, load, bias, mask)
	case 14:
		tile14x16of32RowsHalf(kc, a, b, c, lda, ldc, load, bias, mask)
	}
}
