package kernel

import (
	"testing"
	"unsafe"
)

func TestSlab(t *testing.T) {
	for _, n := range []int{0, 1, 17, 1 << 18, 1<<20 + 3} {
		s := Slab(n)
		if len(s) != n || cap(s) != n {
			t.Fatalf("Slab(%d) has length %d and capacity %d", n, len(s), cap(s))
		}
		border := uintptr(cacheLine)
		if 4*n >= hugePage/2 {
			border = hugePage
		}
		if at := uintptr(unsafe.Pointer(unsafe.SliceData(s))); at%border != 0 {
			t.Errorf("Slab(%d) starts at %#x, which is no border of %d bytes", n, at, border)
		}
		for i, x := range s {
			if x != 0 {
				t.Fatalf("Slab(%d)[%d] = %v", n, i, x)
			}
			s[i] = 1 // Writable to the end.
		}
	}
}
