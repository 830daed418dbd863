// Package vector is the CPU backend's elementwise passes and column sums: softmax, SiLU, GEGLU, group norm and
// layer norm, fused so that each reads and writes memory once. Each has a Go twin, its specification; the AVX2
// version, used by the kernel sets avx2 and avx512 alike, equals it bit for bit: products are rounded before they
// are added, except products of two float32 in float64, which are exact.
package vector

//go:generate sh -c "cd gen && go run . -out ../vector_amd64.s -stubs ../vector_amd64.go -pkg vector"
