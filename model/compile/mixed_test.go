package compile_test

import (
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"yohaku/model/backend/cpu"
	"yohaku/model/compile"
)

// TestMixedPrecision: the gradients point where float32's do, differ from them, and have the same bits with any number
// of threads and under a memory limit.
func TestMixedPrecision(t *testing.T) {
	c := unetCase{channels: []int{32, 64}, layers: 1, heads: 4, size: 16, pairs: 2, context: 24, tokens: 7, groups: 8}
	two := cpu.New(2)
	defer two.Close()
	plain := runOnce(t, c.compile(t, two, compile.Options{}))
	e := c.compile(t, two, compile.Options{BF16: true, Debug: true})
	mixed := runOnce(t, e)
	if far := math.Abs(float64(mixed.Loss/plain.Loss - 1)); far > 0.01 || mixed.Loss == plain.Loss {
		t.Errorf("loss %v, in float32 %v", mixed.Loss, plain.Loss)
	}
	for name, want := range plain.Grads {
		var difference, norm float64
		for i, w := range want {
			d := float64(mixed.Grads[name][i] - w)
			difference += d * d
			norm += float64(w) * float64(w)
		}
		if far := math.Sqrt(difference / norm); far > 0.1 {
			t.Errorf("gradient of %s: off by %.3f of its length", name, far)
		}
	}
	three := cpu.New(3)
	defer three.Close()
	limited := c.compile(t, three, compile.Options{BF16: true, MaxSlabBytes: e.Plan().SlabBytes * 2 / 3})
	if diff := cmp.Diff(mixed, runOnce(t, limited)); diff != "" {
		t.Error("other bits with three threads and a memory limit")
	}
}
