package cpu

import (
	"strings"
	"testing"
	"unsafe"

	"yohaku/model/backend"
	"yohaku/model/op"
)

func TestAllocIsAligned(t *testing.T) {
	be := New(1)
	defer be.Close()
	for n := range 200 {
		s := be.Alloc(n)
		if len(s) != n || n > 0 && uintptr(unsafe.Pointer(&s[0]))%64 != 0 {
			t.Fatalf("Alloc(%d) gave %d values at %p", n, len(s), s)
		}
		for _, v := range s {
			if v != 0 {
				t.Fatalf("Alloc(%d) is not zero", n)
			}
		}
	}
}

func TestChooseRefusesWhatItCannotRun(t *testing.T) {
	be := New(1)
	defer be.Close()
	for _, d := range []op.Def{op.Pick{}, backend.Accumulate{Product: op.SiLU{}}} {
		if _, err := be.Choose(d, []op.Shape{{2}, {2}}, []op.Shape{{2}}); err == nil || !strings.Contains(err.Error(), unwrapped(d)) {
			t.Errorf("%s: error %v, want one that names it", d.Name(), err)
		}
	}
}

func unwrapped(d op.Def) string {
	if a, ok := d.(backend.Accumulate); ok {
		return a.Product.Name()
	}
	return d.Name()
}

// TestUnneededResults: gradients of parameters that are not trained have no memory.
func TestUnneededResults(t *testing.T) {
	be := New(2)
	defer be.Close()
	x, p, lse := op.Shape{2, 8, 4}, op.Shape{4}, op.Shape{2, 2, 8}
	for _, c := range []struct {
		def op.Def
		in  []op.Shape
	}{
		{op.GroupNormBackward{Norm: op.GroupNorm{Groups: 2, Eps: 1e-5, SiLU: true}}, []op.Shape{x, p, p, {2, 2, 2}, x}},
		{op.LayerNormBackward{}, []op.Shape{x, p, {16, 2}, x}},
		{op.AttentionBackward{Attention: op.Attention{Heads: 2}}, []op.Shape{x, x, x, x, lse, x}},
		{op.Attention{Heads: 2}, []op.Shape{x, x, x}},
		{op.GroupNorm{Groups: 2, Eps: 1e-5}, []op.Shape{x, p, p}},
		{op.LinearBackwardWeight{Bias: true}, []op.Shape{x, x}},
		{op.Split{At: 1}, []op.Shape{x}},
	} {
		all, err := c.def.Infer(c.in)
		if err != nil {
			t.Fatal(err)
		}
		needed := make([]op.Shape, len(all))
		needed[0] = all[0]
		k, err := be.Choose(c.def, c.in, needed)
		if err != nil {
			t.Fatal(err)
		}
		a := backend.Args{Out: make([][]float32, len(all)), Scratch: be.Alloc(k.Scratch)}
		a.Out[0] = be.Alloc(all[0].TotalSize())
		for _, s := range c.in {
			a.In = append(a.In, be.Alloc(s.TotalSize()))
		}
		if err := k.Bind(a)(); err != nil {
			t.Errorf("%s: %v", c.def.Name(), err)
		}
	}
}
