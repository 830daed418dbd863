//go:build !noasm

package kernel

// tileWide computes up to 32 columns.
func tileWide(rows, kc int, a, b, c *float32, lda, ldc, load int, bias *float32, mask uint64) {
	switch rows {
	case 1:
		tile1x32(kc, a, b, c, lda, ldc, load, bias, mask)
	case 2:
		tile2x32(kc, a, b, c, lda, ldc, load, bias, mask)
	case 3:
		tile3x32(kc, a, b, c, lda, ldc, load, bias, mask)
	case 4:
		tile4x32(kc, a, b, c, lda, ldc, load, bias, mask)
	case 5:
		tile5x32(kc, a, b, c, lda, ldc, load, bias, mask)
	case 6:
		tile6x32(kc, a, b, c, lda, ldc, load, bias, mask)
	case 7:
		tile7x32(kc, a, b, c, lda, ldc, load, bias, mask)
	case 8:
		tile8x32(kc, a, b, c, lda, ldc, load, bias, mask)
	case 9:
		tile9x32(kc, a, b, c, lda, ldc, load, bias, mask)
	case 10:
		tile10x32(kc, a, b, c, lda, ldc, load, bias, mask)
	case 11:
		tile11x32(kc, a, b, c, lda, ldc, load, bias, mask)
	case 12:
		tile12x32(kc, a, b, c, lda, ldc, load, bias, mask)
	case 13:
		tile13x32(kc, a, b, c, lda, ldc, load, bias, mask)
	case 14:
		tile14x32(kc, a, b, c, lda, ldc, load, bias, mask)
	}
}

// tileWideRows computes up to 32 columns, A in rows.
func tileWideRows(rows, kc int, a, b, c *float32, lda, ldc, load int, bias *float32, mask uint64) {
	switch rows {
	case 1:
		tile1x32Rows(kc, a, b, c, lda, ldc, load, bias, mask)
	case 2:
		tile2x32Rows(kc, a, b, c, lda, ldc, load, bias, mask)
	case 3:
		tile3x32Rows(kc, a, b, c, lda, ldc, load, bias, mask)
	case 4:
		tile4x32Rows(kc, a, b, c, lda, ldc, load, bias, mask)
	case 5:
		tile5x32Rows(kc, a, b, c, lda, ldc, load, bias, mask)
	case 6:
		tile6x32Rows(kc, a, b, c, lda, ldc, load, bias, mask)
	case 7:
		tile7x32Rows(kc, a, b, c, lda, ldc, load, bias, mask)
	case 8:
		tile8x32Rows(kc, a, b, c, lda, ldc, load, bias, mask)
	case 9:
		tile9x32Rows(kc, a, b, c, lda, ldc, load, bias, mask)
	case 10:
		tile10x32Rows(kc, a, b, c, lda, ldc, load, bias, mask)
	case 11:
		tile11x32Rows(kc, a, b, c, lda, ldc, load, bias, mask)
	case 12:
		tile12x32Rows(kc, a, b, c, lda, ldc, load, bias, mask)
	case 13:
		tile13x32Rows(kc, a, b, c, lda, ldc, load, bias, mask)
	case 14:
		tile14x32Rows(kc, a, b, c, lda, ldc, load, bias, mask)
	}
}

// tileNarrow computes up to 16 columns, at twice the speed.
func tileNarrow(rows, kc int, a, b, c *float32, lda, ldc, load int, bias *float32, mask uint64) {
	switch rows {
	case 1:
		tile1x16of32(kc, a, b, c, lda, ldc, load, bias, mask)
	case 2:
		tile2x16of32(kc, a, b, c, lda, ldc, load, bias, mask)
	case 3:
		tile3x16of32(kc, a, b, c, lda, ldc, load, bias, mask)
	case 4:
		tile4x16of32(kc, a, b, c, lda, ldc, load, bias, mask)
	case 5:
		tile5x16of32(kc, a, b, c, lda, ldc, load, bias, mask)
	case 6:
		tile6x16of32(kc, a, b, c, lda, ldc, load, bias, mask)
	case 7:
		tile7x16of32(kc, a, b, c, lda, ldc, load, bias, mask)
	case 8:
		tile8x16of32(kc, a, b, c, lda, ldc, load, bias, mask)
	case 9:
		tile9x16of32(kc, a, b, c, lda, ldc, load, bias, mask)
	case 10:
		tile10x16of32(kc, a, b, c, lda, ldc, load, bias, mask)
	case 11:
		tile11x16of32(kc, a, b, c, lda, ldc, load, bias, mask)
	case 12:
		tile12x16of32(kc, a, b, c, lda, ldc, load, bias, mask)
	case 13:
		tile13x16of32(kc, a, b, c, lda, ldc, load, bias, mask)
	case 14:
		tile14x16of32(kc, a, b, c, lda, ldc, load, bias, mask)
	}
}

// tileNarrowRows computes up to 16 columns, A in rows.
func tileNarrowRows(rows, kc int, a, b, c *float32, lda, ldc, load int, bias *float32, mask uint64) {
	switch rows {
	case 1:
		tile1x16of32Rows(kc, a, b, c, lda, ldc, load, bias, mask)
	case 2:
		tile2x16of32Rows(kc, a, b, c, lda, ldc, load, bias, mask)
	case 3:
		tile3x16of32Rows(kc, a, b, c, lda, ldc, load, bias, mask)
	case 4:
		tile4x16of32Rows(kc, a, b, c, lda, ldc, load, bias, mask)
	case 5:
		tile5x16of32Rows(kc, a, b, c, lda, ldc, load, bias, mask)
	case 6:
		tile6x16of32Rows(kc, a, b, c, lda, ldc, load, bias, mask)
	case 7:
		tile7x16of32Rows(kc, a, b, c, lda, ldc, load, bias, mask)
	case 8:
		tile8x16of32Rows(kc, a, b, c, lda, ldc, load, bias, mask)
	case 9:
		tile9x16of32Rows(kc, a, b, c, lda, ldc, load, bias, mask)
	case 10:
		tile10x16of32Rows(kc, a, b, c, lda, ldc, load, bias, mask)
	case 11:
		tile11x16of32Rows(kc, a, b, c, lda, ldc, load, bias, mask)
	case 12:
		tile12x16of32Rows(kc, a, b, c, lda, ldc, load, bias, mask)
	case 13:
		tile13x16of32Rows(kc, a, b, c, lda, ldc, load, bias, mask)
	case 14:
		tile14x16of32Rows(kc, a, b, c, lda, ldc, load, bias, mask)
	}
}

// tile16 computes 16 columns with AVX2.
func tile16(rows, kc int, a, b, c *float32, lda, ldc, load int, bias *float32) {
	switch rows {
	case 1:
		tile1x16(kc, a, b, c, lda, ldc, load, bias)
	case 2:
		tile2x16(kc, a, b, c, lda, ldc, load, bias)
	case 3:
		tile3x16(kc, a, b, c, lda, ldc, load, bias)
	case 4:
		tile4x16(kc, a, b, c, lda, ldc, load, bias)
	case 5:
		tile5x16(kc, a, b, c, lda, ldc, load, bias)
	case 6:
		tile6x16(kc, a, b, c, lda, ldc, load, bias)
	}
}

// tile16Rows computes 16 columns with AVX2, A in rows.
func tile16Rows(rows, kc int, a, b, c *float32, lda, ldc, load int, bias *float32) {
	switch rows {
	case 1:
		tile1x16Rows(kc, a, b, c, lda, ldc, load, bias)
	case 2:
		tile2x16Rows(kc, a, b, c, lda, ldc, load, bias)
	case 3:
		tile3x16Rows(kc, a, b, c, lda, ldc, load, bias)
	case 4:
		tile4x16Rows(kc, a, b, c, lda, ldc, load, bias)
	case 5:
		tile5x16Rows(kc, a, b, c, lda, ldc, load, bias)
	case 6:
		tile6x16Rows(kc, a, b, c, lda, ldc, load, bias)
	}
}

// tileEight computes up to 8 columns, at up to four times the speed.
func tileEight(rows, kc int, a, b, c *float32, lda, ldc, load int, bias *float32, mask uint64) {
	switch rows {
	case 1:
		tile1x8of32(kc, a, b, c, lda, ldc, load, bias, mask)
	case 2:
		tile2x8of32(kc, a, b, c, lda, ldc, load, bias, mask)
	case 3:
		tile3x8of32(kc, a, b, c, lda, ldc, load, bias, mask)
	case 4:
		tile4x8of32(kc, a, b, c, lda, ldc, load, bias, mask)
	case 5:
		tile5x8of32(kc, a, b, c, lda, ldc, load, bias, mask)
	case 6:
		tile6x8of32(kc, a, b, c, lda, ldc, load, bias, mask)
	case 7:
		tile7x8of32(kc, a, b, c, lda, ldc, load, bias, mask)
	case 8:
		tile8x8of32(kc, a, b, c, lda, ldc, load, bias, mask)
	case 9:
		tile9x8of32(kc, a, b, c, lda, ldc, load, bias, mask)
	case 10:
		tile10x8of32(kc, a, b, c, lda, ldc, load, bias, mask)
	case 11:
		tile11x8of32(kc, a, b, c, lda, ldc, load, bias, mask)
	case 12:
		tile12x8of32(kc, a, b, c, lda, ldc, load, bias, mask)
	case 13:
		tile13x8of32(kc, a, b, c, lda, ldc, load, bias, mask)
	case 14:
		tile14x8of32(kc, a, b, c, lda, ldc, load, bias, mask)
	}
}

// tileEightRows computes up to 8 columns, A in rows.
func tileEightRows(rows, kc int, a, b, c *float32, lda, ldc, load int, bias *float32, mask uint64) {
	switch rows {
	case 1:
		tile1x8of32Rows(kc, a, b, c, lda, ldc, load, bias, mask)
	case 2:
		tile2x8of32Rows(kc, a, b, c, lda, ldc, load, bias, mask)
	case 3:
		tile3x8of32Rows(kc, a, b, c, lda, ldc, load, bias, mask)
	case 4:
		tile4x8of32Rows(kc, a, b, c, lda, ldc, load, bias, mask)
	case 5:
		tile5x8of32Rows(kc, a, b, c, lda, ldc, load, bias, mask)
	case 6:
		tile6x8of32Rows(kc, a, b, c, lda, ldc, load, bias, mask)
	case 7:
		tile7x8of32Rows(kc, a, b, c, lda, ldc, load, bias, mask)
	case 8:
		tile8x8of32Rows(kc, a, b, c, lda, ldc, load, bias, mask)
	case 9:
		tile9x8of32Rows(kc, a, b, c, lda, ldc, load, bias, mask)
	case 10:
		tile10x8of32Rows(kc, a, b, c, lda, ldc, load, bias, mask)
	case 11:
		tile11x8of32Rows(kc, a, b, c, lda, ldc, load, bias, mask)
	case 12:
		tile12x8of32Rows(kc, a, b, c, lda, ldc, load, bias, mask)
	case 13:
		tile13x8of32Rows(kc, a, b, c, lda, ldc, load, bias, mask)
	case 14:
		tile14x8of32Rows(kc, a, b, c, lda, ldc, load, bias, mask)
	}
}
