// Package backend says what a device must do to run compiled programs. Package compile plans a
// program and asks the backend for a kernel per instruction; the kernel is bound to its memory once,
// and a step is then a walk over closures. backend/cpu is the implementation in Go and assembly.
package backend

import "yohaku/model/op"

// Backend chooses kernels. Its kernels' bits depend on the kernel set only, not on threads.
type Backend interface {
	// KernelSet names the instruction-set family that determines the bits.
	KernelSet() string
	// Choose picks the kernel for one instruction. out holds the shapes of all results; a nil entry is
	// a result that nobody needs, for which Args.Out is nil too (a scalar's shape is empty, not nil).
	// It returns an error when the backend cannot run d on these shapes.
	Choose(d op.Def, in, out []op.Shape) (Kernel, error)
	// Alloc returns zeroed memory for n values that starts on a 64-byte border.
	Alloc(n int) []float32
}

// Kernel is the choice for one instruction.
type Kernel struct {
	// Scratch is how many values of working memory it needs while it runs.
	Scratch int
	// InPlace lists the operands that result 0 may overwrite, the best first. All are of its size.
	InPlace []int
	// Bind fixes the memory. The function it returns runs the instruction and must not allocate.
	Bind func(Args) func() error
}

// Args is the memory of one instruction.
type Args struct {
	In, Out [][]float32
	Scratch []float32
}
