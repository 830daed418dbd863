package kernel

import "fmt"

// chunkElements bounds one call into assembly: about 30 µs for the slowest of the elementwise kernels.
const chunkElements = 1 << 15

// Add computes dst = a + b. All slices have the same length; dst may be a or b.
func Add(dst, a, b []float32) { binary(active.vectors.add, dst, a, b) }

// Mul computes dst = a·b, element by element. All slices have the same length; dst may be a or b.
func Mul(dst, a, b []float32) { binary(active.vectors.mul, dst, a, b) }

// Axpy computes y += alpha·x, with the product rounded. Both slices have the same length.
func Axpy(alpha float32, x, y []float32) {
	checkSame(len(y), len(x))
	for len(y) > 0 {
		n := min(len(y), chunkElements)
		scalarStep(active.vectors.axpy, y[:n], x[:n], alpha)
		y, x = y[n:], x[n:]
	}
}

// Scale computes dst = alpha·x. Both slices have the same length; dst may be x.
func Scale(dst, x []float32, alpha float32) {
	checkSame(len(dst), len(x))
	for len(dst) > 0 {
		n := min(len(dst), chunkElements)
		scalarStep(active.vectors.scale, dst[:n], x[:n], alpha)
		dst, x = dst[n:], x[n:]
	}
}

// Exp computes dst = exp(x) within 1 ulp. Arguments above 88 count as 88; below −87.7 the result is 0. dst may be x.
func Exp(dst, x []float32) { unary(active.vectors.exp, dst, x) }

// SiLU computes dst = x/(1+exp(−x)). dst may be x.
func SiLU(dst, x []float32) { unary(active.vectors.silu, dst, x) }

// SiLUGrad computes dx = dy·silu′(x), silu′ = σ·(1 + x·(1 − σ)). dx may be x or dy.
func SiLUGrad(dx, x, dy []float32) { binary(active.vectors.siluGrad, dx, x, dy) }

// GELU computes dst = x·Φ(x), Φ the distribution function of the normal distribution (the exact form, not tanh's), within
// 4e-7 absolute for |x| ≤ 4. dst may be x.
func GELU(dst, x []float32) { unary(active.vectors.gelu, dst, x) }

// GELUGrad computes dx = dy·(Φ(x) + x·φ(x)). dx may be x or dy.
func GELUGrad(dx, x, dy []float32) { binary(active.vectors.geluGrad, dx, x, dy) }

// QuickGELU computes dst = x/(1+exp(−1.702·x)). dst may be x.
func QuickGELU(dst, x []float32) { unary(active.vectors.quickGELU, dst, x) }

// QuickGELUGrad computes dx = dy·silu′(1.702·x). dx may be x or dy.
func QuickGELUGrad(dx, x, dy []float32) { binary(active.vectors.quickGELUGrad, dx, x, dy) }

// GEGLU computes dst = x·gelu(gate). All slices have the same length; dst may be x or gate.
func GEGLU(dst, x, gate []float32) { binary(active.vectors.geglu, dst, x, gate) }

// GEGLUGrad computes dx = dy·gelu(gate) and dgate = dy·x·gelu′(gate). All slices have the same length; dx and dgate may be
// x and gate.
func GEGLUGrad(dx, dgate, x, gate, dy []float32) {
	checkSame(len(dx), len(dgate))
	checkSame(len(dx), len(x))
	checkSame(len(dx), len(gate))
	checkSame(len(dx), len(dy))
	for len(dx) > 0 {
		n := min(len(dx), chunkElements)
		gegluGradStep(dx[:n], dgate[:n], x[:n], gate[:n], dy[:n])
		dx, dgate, x, gate, dy = dx[n:], dgate[n:], x[n:], gate[n:], dy[n:]
	}
}

// Sum adds the elements of x, element i in lane i mod 16 of each block of 32,768, lanes in a fixed tree, blocks in order.
func Sum(x []float32) float32 {
	var total float32
	for len(x) > 0 {
		n := min(len(x), chunkElements)
		total += reduceStep(active.vectors.sum, x[:n])
		x = x[n:]
	}
	return total
}

// Dot adds a[i]·b[i], each product rounded, in the order of Sum.
func Dot(a, b []float32) float32 {
	checkSame(len(a), len(b))
	var total float32
	for len(a) > 0 {
		n := min(len(a), chunkElements)
		total += dotStep(a[:n], b[:n])
		a, b = a[n:], b[n:]
	}
	return total
}

// Max is the largest element of x, or the lowest float32 when there is none. The sign of a zero is not defined.
func Max(x []float32) float32 {
	largest := largestGeneric(nil, 0)
	for len(x) > 0 {
		n := min(len(x), chunkElements)
		largest = max(largest, reduceStep(active.vectors.largest, x[:n]))
		x = x[n:]
	}
	return largest
}

// Softmax computes dst = exp(scale·x − m)/Σ exp(scale·x − m) with m = max(scale·x), for one row and scale ≥ 0. dst may be x.
// The sum is in the order of Sum, the division a multiplication by the reciprocal.
func Softmax(dst, x []float32, scale float32) {
	checkSame(len(dst), len(x))
	shift := Max(x) * scale
	var total float32
	for at := 0; at < len(x); at += chunkElements {
		end := min(len(x), at+chunkElements)
		total += expSumStep(dst[at:end], x[at:end], scale, shift)
	}
	Scale(dst, dst, 1/total)
}

// SoftmaxGrad computes dx = scale·p·(dp − Σ p·dp), the gradient of Softmax's x from its result p and the gradient dp of
// that, for one row. dx may be dp.
func SoftmaxGrad(dx, p, dp []float32, scale float32) {
	checkSame(len(dx), len(p))
	dot := Dot(p, dp)
	for at := 0; at < len(p); at += chunkElements {
		end := min(len(p), at+chunkElements)
		softmaxGradStep(dx[at:end], p[at:end], dp[at:end], dot, scale)
	}
}

func checkSame(want, got int) {
	if want != got {
		panic(fmt.Sprintf("kernel: slices of %d and %d elements must have the same length", want, got))
	}
}

func unary(f func(dst, x *float32, n int), dst, x []float32) {
	checkSame(len(dst), len(x))
	for len(dst) > 0 {
		n := min(len(dst), chunkElements)
		unaryStep(f, dst[:n], x[:n])
		dst, x = dst[n:], x[n:]
	}
}

func binary(f func(dst, a, b *float32, n int), dst, a, b []float32) {
	checkSame(len(dst), len(a))
	checkSame(len(dst), len(b))
	for len(dst) > 0 {
		n := min(len(dst), chunkElements)
		binaryStep(f, dst[:n], a[:n], b[:n])
		dst, a, b = dst[n:], a[n:], b[n:]
	}
}

// The step functions are calls of their own so that the garbage collector can stop the goroutine between two of them.

//go:noinline
func unaryStep(f func(dst, x *float32, n int), dst, x []float32) { f(&dst[0], &x[0], len(dst)) }

//go:noinline
func binaryStep(f func(dst, a, b *float32, n int), dst, a, b []float32) {
	f(&dst[0], &a[0], &b[0], len(dst))
}

//go:noinline
func scalarStep(f func(dst, x *float32, n int, alpha float32), dst, x []float32, alpha float32) {
	f(&dst[0], &x[0], len(dst), alpha)
}

//go:noinline
func reduceStep(f func(x *float32, n int) float32, x []float32) float32 { return f(&x[0], len(x)) }

//go:noinline
func dotStep(a, b []float32) float32 { return active.vectors.dot(&a[0], &b[0], len(a)) }

//go:noinline
func expSumStep(dst, x []float32, scale, shift float32) float32 {
	return active.vectors.expSum(&dst[0], &x[0], len(dst), scale, shift)
}

//go:noinline
func softmaxGradStep(dx, p, dp []float32, dot, scale float32) {
	active.vectors.softmaxGrad(&dx[0], &p[0], &dp[0], len(dx), dot, scale)
}

//go:noinline
func gegluGradStep(dx, dgate, x, gate, dy []float32) {
	active.vectors.gegluGrad(&dx[0], &dgate[0], &x[0], &gate[0], &dy[0], len(dx))
}
