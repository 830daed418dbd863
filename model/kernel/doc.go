// Package kernel is the arithmetic of the CPU backend: a thread pool, matrix products, convolutions over NHWC images and
// the elementwise passes of a training step, in assembly where the processor allows it and in Go everywhere.
//
// Invariants:
//
//   - The bits of a result depend on the kernel set (Set) only, never on the number of threads or on blocking. Each
//     element of a product is one chain of fused multiply-adds over k in ascending order, convolutions of 3×3 by the
//     products of their tiles; work is split over elements of the result. The sets avx512 and avx2 give the same bits. The set generic rounds each product and is a set of its own.
//   - Elementwise kernels equal their Go twin bit for bit, on every set.
//   - No call allocates once its scratch has grown to the largest problem seen.
//   - A call into assembly lasts at most about 100 µs: assembly has no preemption point, and a longer call would hold up
//     the garbage collector.
//
// The assembly is written by the generator in gen, a Go module of its own; run go generate after changing it.
package kernel

//go:generate sh -c "cd gen && go run . -out ../kernel_amd64.s -stubs ../kernel_amd64.go -pkg kernel"
