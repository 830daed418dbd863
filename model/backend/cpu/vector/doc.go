// Package vector is what the CPU backend needs beyond package kernel: column and row sums in float64, where
// gradients of norms and biases would lose too much in float32, and passes fused for one operator, GEGLU and the
// gradients of SiLU within a group norm and of layer norm. Each has a Go twin, its specification; the AVX2 version,
// used by the kernel sets avx2 and avx512 alike, equals it bit for bit: products are rounded before they are added,
// except products of two float32 in float64, which are exact.
package vector

//go:generate sh -c "cd gen && go run . -out ../vector_amd64.s -stubs ../vector_amd64.go -pkg vector"
