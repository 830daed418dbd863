//go:build !noasm

package vector

import "yohaku/model/kernel"

// assembly says whether the kernel set in use has AVX2. Only tests change it after the start.
var assembly = kernel.Set() != "generic"

// whole is how many of n elements the assembly takes: whole vectors of 8.
func whole(n int) int {
	if !assembly {
		return 0
	}
	return n &^ 7
}
