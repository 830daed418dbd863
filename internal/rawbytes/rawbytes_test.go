package rawbytes

import (
	"encoding/binary"
	"math"
	"testing"
)

func TestOf(t *testing.T) {
	v := []float32{1, -2.5, float32(math.Inf(1))}
	b := Of(v)
	if len(b) != 12 {
		t.Fatalf("%d bytes of three float32", len(b))
	}
	for i, x := range v {
		if got := binary.NativeEndian.Uint32(b[4*i:]); got != math.Float32bits(x) {
			t.Errorf("bits of %v are %#x", x, got)
		}
	}
	b[0] ^= 1
	if v[0] == 1 {
		t.Error("the bytes are a copy")
	}
	if got := Of([]int8{-1, 2}); len(got) != 2 || got[0] != 255 || got[1] != 2 {
		t.Errorf("bytes of int8: %v", got)
	}
	if len(Of[int32](nil)) != 0 || len(Of([]int32{})) != 0 {
		t.Error("nothing has bytes")
	}
}
