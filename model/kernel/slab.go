package kernel

import "unsafe"

const (
	cacheLine = 64
	hugePage  = 2 << 20
)

// Slab returns n zeroed values. They start on a 64-byte border, and from 1 MiB on at a border of 2 MiB, in memory for which
// the system is asked to use huge pages: that saves most misses of the address cache in products and updates. The garbage
// collector owns the memory as any other.
func Slab(n int) []float32 {
	size := 4 * n
	border := cacheLine
	if size >= hugePage/2 {
		border = hugePage
	}
	s := make([]float32, n+border/4)
	skip := int(-uintptr(unsafe.Pointer(&s[0]))&uintptr(border-1)) / 4
	s = s[skip : skip+n : skip+n]
	if border == hugePage {
		// The rest of the last huge page may hold others' memory: it stays in small pages.
		adviseHugePages(unsafe.Slice((*byte)(unsafe.Pointer(&s[0])), size))
	}
	return s
}
