// Package isa says which instruction set the loops in assembly are to use, for all packages that have some.
package isa

import "os"

// Variable is the environment variable that lowers the set: avx512, avx2 or generic.
const Variable = "YOHAKU_KERNELS"

// Asked is the set that the environment asks for, "" for the best that the processor has. It may not exist here.
func Asked() string { return os.Getenv(Variable) }
