package compile_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"yohaku/model/backend/cpu"
	"yohaku/model/compile"
	"yohaku/model/op"
)

// TestRematerializationChangesNoBit: programs under ever tighter limits fit them and give the plain program's bits, with
// memory poisoned as it dies. The order of the gradients stays too.
func TestRematerializationChangesNoBit(t *testing.T) {
	be := cpu.New(2)
	defer be.Close()
	c := unetCase{channels: []int{32, 64}, layers: 2, heads: 4, size: 16, pairs: 1, context: 12, tokens: 5, groups: 4}
	plain := c.compile(t, be, compile.Options{Debug: true})
	want := runOnce(t, plain)
	full := plain.Plan()
	again := 0
	for _, share := range []int64{80, 60, 40} {
		limit := full.SlabBytes * share / 100
		e := c.compile(t, be, compile.Options{Debug: true, MaxSlabBytes: limit})
		info := e.Plan()
		if info.SlabBytes > limit {
			t.Errorf("limit %d%%: slab of %d bytes, want at most %d", share, info.SlabBytes, limit)
		}
		if info.Again < again || info.Again == 0 {
			t.Errorf("limit %d%%: %d instructions again, with more memory %d", share, info.Again, again)
		}
		again = info.Again
		if info.FLOPs != full.FLOPs {
			t.Errorf("limit %d%%: %d operations, want %d", share, info.FLOPs, full.FLOPs)
		}
		if diff := cmp.Diff(plain.GradOrder(), e.GradOrder()); diff != "" {
			t.Errorf("limit %d%%: another order of gradients (-plain +limited):\n%s", share, diff)
		}
		if diff := cmp.Diff(want, runOnce(t, e), cmp.AllowUnexported(result{})); diff != "" {
			t.Errorf("limit %d%%: other bits", share)
		}
	}
}

func TestLimitThatNothingFits(t *testing.T) {
	be := cpu.New(1)
	defer be.Close()
	b, loss, _ := tinyUNet.forward(t)
	grads, err := b.Grad(loss, b.Params()...)
	if err != nil {
		t.Fatal(err)
	}
	_, err = compile.Compile(b, be, []op.Node{loss}, grads, compile.Options{MaxSlabBytes: 1000})
	var limit *compile.MemoryLimitError
	if !errors.As(err, &limit) {
		t.Fatalf("got error %v, want a MemoryLimitError", err)
	}
	if limit.Limit != 1000 || limit.Least <= 1000 {
		t.Errorf("got limit %d and least %d", limit.Limit, limit.Least)
	}
	if _, err = compile.Compile(b, be, []op.Node{loss}, grads, compile.Options{MaxSlabBytes: limit.Least}); err != nil {
		t.Errorf("the least that it named does not do: %v", err)
	}
}

// TestThrift: what is saved unasked costs no bit, no more than its share, and stops where it is enough.
func TestThrift(t *testing.T) {
	be := cpu.New(2)
	defer be.Close()
	c := unetCase{channels: []int{32, 64}, layers: 2, heads: 4, size: 16, pairs: 1, context: 12, tokens: 5, groups: 4}
	plain := c.compile(t, be, compile.Options{Debug: true})
	want := runOnce(t, plain)
	full := plain.Plan()
	slab := full.SlabBytes
	for _, share := range []float64{0.02, 0.1} {
		e := c.compile(t, be, compile.Options{Debug: true, Thrift: share})
		info := e.Plan()
		if info.SlabBytes >= slab {
			t.Errorf("share %v: slab of %d bytes, want less than %d", share, info.SlabBytes, slab)
		}
		slab = info.SlabBytes
		if float64(info.AgainFLOPs) > 2*share*float64(full.FLOPs) {
			t.Errorf("share %v: %d of %d operations again", share, info.AgainFLOPs, full.FLOPs)
		}
		if diff := cmp.Diff(want, runOnce(t, e), cmp.AllowUnexported(result{})); diff != "" {
			t.Errorf("share %v: other bits", share)
		}
	}
	if e := c.compile(t, be, compile.Options{Thrift: 0.1, EnoughBytes: full.LiveBytes}); e.Plan().Again != 0 {
		t.Errorf("%d instructions again, though the plain program is small enough", e.Plan().Again)
	}
}
