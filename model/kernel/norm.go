package kernel

import "fmt"

// The kernels of this file work on rows of n columns, dense: pixels by channels. They serve group normalisation over
// NHWC images, whose per-channel scale and shift fold mean, deviation, gamma and beta together:
//
//	y  = x·scale + shift,  scale = gamma·rstd,  shift = beta − mean·rstd·gamma
//	dx = dh·a + x·b + c,   a = gamma·rstd,  b = −rstd²·Σ(gamma·dh·x̂)/N,  c = −rstd·Σ(gamma·dh)/N − b·mean
//
// where N is the number of elements of a group, h the argument of the activation, dh its gradient.

// Affine computes dst = x·scale + shift; scale and shift are [n], x and dst are rows of n. dst may be x.
func Affine(dst, x, scale, shift []float32) { affineRows(active.vectors.affine, dst, x, scale, shift) }

// AffineSiLU computes dst = silu(x·scale + shift), as Affine.
func AffineSiLU(dst, x, scale, shift []float32) {
	affineRows(active.vectors.affineSiLU, dst, x, scale, shift)
}

func affineRows(f func(dst, x, scale, shift *float32, rows, n int), dst, x, scale, shift []float32) {
	n := len(scale)
	checkSame(n, len(shift))
	checkSame(len(x), len(dst))
	checkRows(len(x), n)
	step := rowsPerCall(n)
	for len(x) > 0 {
		rows := min(step, len(x)/n)
		affineStep(f, dst, x, scale, shift, rows)
		dst, x = dst[rows*n:], x[rows*n:]
	}
}

// AffineGrad computes dx = dy·a + x·b + c; a, b and c are [n], the others rows of n. dx may be x or dy.
func AffineGrad(dx, x, dy, a, b, c []float32) {
	n := len(a)
	checkGrad(dx, x, dy, n, b, c)
	step := rowsPerCall(n)
	for len(x) > 0 {
		rows := min(step, len(x)/n)
		affineGradStep(dx, x, dy, a, b, c, rows)
		dx, x, dy = dx[rows*n:], x[rows*n:], dy[rows*n:]
	}
}

// AffineSiLUGrad computes dh = dy·silu′(x·scale + shift), as Affine. dh may be x or dy.
func AffineSiLUGrad(dh, x, dy, scale, shift []float32) {
	n := len(scale)
	checkSame(n, len(shift))
	checkSame(len(x), len(dh))
	checkSame(len(x), len(dy))
	checkRows(len(x), n)
	step := rowsPerCall(n)
	for len(x) > 0 {
		rows := min(step, len(x)/n)
		affineSiLUGradStep(dh, x, dy, scale, shift, rows)
		dh, x, dy = dh[rows*n:], x[rows*n:], dy[rows*n:]
	}
}

func rowsPerCall(n int) int { return max(1, chunkElements/n) }

func checkRows(length, n int) {
	if n == 0 && length > 0 || n > 0 && length%n != 0 {
		panic(fmt.Sprintf("kernel: %d elements are no rows of %d columns", length, n))
	}
}

func checkGrad(dx, x, dy []float32, n int, b, c []float32) {
	checkSame(n, len(b))
	checkSame(n, len(c))
	checkSame(len(x), len(dx))
	checkSame(len(x), len(dy))
	checkRows(len(x), n)
}

//go:noinline
func affineStep(f func(dst, x, scale, shift *float32, rows, n int), dst, x, scale, shift []float32, rows int) {
	f(&dst[0], &x[0], &scale[0], &shift[0], rows, len(scale))
}

//go:noinline
func affineGradStep(dx, x, dy, a, b, c []float32, rows int) {
	active.vectors.affineGrad(&dx[0], &x[0], &dy[0], &a[0], &b[0], &c[0], rows, len(a))
}

//go:noinline
func affineSiLUGradStep(dh, x, dy, scale, shift []float32, rows int) {
	active.vectors.affineSiLUGrad(&dh[0], &x[0], &dy[0], &scale[0], &shift[0], rows, len(scale))
}
