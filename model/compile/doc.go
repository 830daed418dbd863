// Package compile turns an expression graph into a program with planned memory.
//
//   - lower: the nodes that the outputs and gradients need, in creation order, which is topological;
//     Reshape becomes a second name for its operand, results nobody needs are dropped.
//   - fuse: an addition becomes the accumulation of the matrix product beside it.
//   - mix: in mixed precision, products take their factors in bf16.
//   - rematerialize: results of the forward pass are computed again where memory is bounded.
//   - plan: liveness, results that overwrite an operand, and offsets in one slab (greedy by size, best fit).
//   - Executable: kernels chosen by the backend and bound to memory; Run walks over them.
//
// Invariants: Run allocates nothing; a program's results have the same bits with and without
// sharing of memory, and with any number of threads.
package compile
