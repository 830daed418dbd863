package kernel

import "fmt"

// chunkElements bounds one call into assembly: about 30 µs for the slowest of the elementwise kernels.
const chunkElements = 1 << 15

// Add computes dst = a + b. All slices have the same length; dst may be a or b.
func Add(dst, a, b []float32) { binary(active.vectors.add, dst, a, b) }

// Scale computes dst = alpha·x. Both slices have the same length; dst may be x.
func Scale(dst, x []float32, alpha float32) {
	checkSame(len(dst), len(x))
	for len(dst) > 0 {
		n := min(len(dst), chunkElements)
		scalarStep(active.vectors.scale, dst[:n], x[:n], alpha)
		dst, x = dst[n:], x[n:]
	}
}

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
func gegluGradStep(dx, dgate, x, gate, dy []float32) {
	active.vectors.gegluGrad(&dx[0], &dgate[0], &x[0], &gate[0], &dy[0], len(dx))
}
