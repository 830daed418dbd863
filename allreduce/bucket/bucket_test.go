package bucket

import (
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"yohaku/allreduce"
	"yohaku/allreduce/fixedpoint"
)

func TestPlan(t *testing.T) {
	l := fixedpoint.NewLayout([]int{10, 0, 2048, 1500, 1})
	got, err := Plan(l, fixedpoint.Int32, 2*4097)
	if err != nil {
		t.Fatal(err)
	}
	want := []Bucket{
		{Index: 0, Lo: 0, Hi: 1034, BlockLo: 0, BlockHi: 2, LastTensor: 2},
		{Index: 1, Lo: 1034, Hi: 3082, BlockLo: 2, BlockHi: 4, LastTensor: 3},
		{Index: 2, Lo: 3082, Hi: 3559, BlockLo: 4, BlockHi: 6, LastTensor: 4},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(allreduce.Span{Lo: 1034, Hi: 3082, ExpLo: 2, ExpHi: 4}, Spans(got)[1]); diff != "" {
		t.Error(diff)
	}
	var ready []int
	for n := range 6 {
		ready = append(ready, Ready(got, n))
	}
	if diff := cmp.Diff([]int{0, 0, 0, 1, 2, 3}, ready); diff != "" {
		t.Error(diff)
	}
}

func TestPlanRefusesLessThanABlock(t *testing.T) {
	if _, err := Plan(fixedpoint.NewLayout(nil), fixedpoint.Int16, 2048); err == nil {
		t.Error("no error")
	}
	if got, err := Plan(fixedpoint.NewLayout(nil), fixedpoint.Int16, 2049); err != nil || len(got) != 0 {
		t.Errorf("empty layout: %v, %v", got, err)
	}
}

// TestPlanCovers: buckets of random layouts cover all in order, within the bound.
func TestPlanCovers(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 2))
		lens := make([]int, rng.IntN(20))
		for i := range lens {
			lens[i] = rng.IntN(9000)
		}
		l, f := fixedpoint.NewLayout(lens), fixedpoint.Format(rng.IntN(2))
		bound := 4097 + rng.IntN(40000)
		buckets, err := Plan(l, f, bound)
		if err != nil {
			t.Fatal(err)
		}
		at, block := 0, 0
		for i, b := range buckets {
			bytes := (b.Hi-b.Lo)*f.Bytes() + b.BlockHi - b.BlockLo
			lo, _ := l.Block(b.BlockLo)
			if b.Index != i || b.Lo != at || b.Lo != lo || b.BlockLo != block || bytes > bound || b.Hi <= b.Lo {
				t.Fatalf("seed %d: bucket %+v of %d bytes, bound %d, want to begin at element %d, block %d", seed, b, bytes, bound, at, block)
			}
			last := l.Tensor(b.LastTensor)
			if b.Hi <= last.Offset || b.Hi > last.Offset+last.Len {
				t.Fatalf("seed %d: bucket %+v does not end in its last tensor %+v", seed, b, last)
			}
			at, block = b.Hi, b.BlockHi
		}
		if at != l.Elements() || block != l.Blocks() {
			t.Fatalf("seed %d: buckets end at %d, %d of %d, %d", seed, at, block, l.Elements(), l.Blocks())
		}
	}
}
