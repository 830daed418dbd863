// Package fixedpoint sums float32 gradients exactly: every micro-batch is rounded once onto a grid
// of integers, and integers add up to the same sum in any order and any grouping.
//
// A tensor is cut into blocks of BlockElements (its last block may be short, a block never spans
// two tensors). The elements of a block are multiples of one quantum 2^E:
//
//	q   = round(x / 2^E)              one micro-batch, |q| ≤ limit = 2^(b−m) − 1
//	sum = Σ q over ≤ M micro-batches  |sum| < 2^b, so it cannot wrap
//	x̂   = scale · 2^E · sum
//
// with b = 31 (Int32) or 15 (Int16) and m = ⌈log2 M⌉. Rounding is to nearest even for Int32, and
// stochastic, keyed by (seed, step, micro-batch, element), for Int16 (AccumulateKeyed).
//
// Two exponents belong to a block. Its needed exponent is the smallest E that holds what was seen,
// combined by max over micro-batches and ranks. Its grid exponent E is the same everywhere, comes
// from the needed exponents of the previous step plus growth bits (Grid.Next), and is part of the
// checkpoint. When a needed exponent is above the grid's (Overflowed), the step's sums are void and
// every rank computes the step again on a raised grid (Grid.Raise); the first step starts that way.
//
// Invariants: neither sums nor exponents depend on the order or grouping of micro-batches, on the
// world size, or on the processor; a sum's error is at most M/2 quanta (Int32) or M quanta (Int16).
//
// The loops are in assembly where the processor allows it, with the same bits; the generator is in gen, a Go module of its own.
package fixedpoint

//go:generate sh -c "cd gen && go run . -out ../kernel_amd64.s -stubs ../kernel_amd64.go -pkg fixedpoint"
