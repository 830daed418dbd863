package bench

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"yohaku/model/backend/cpu"
)

func TestSelect(t *testing.T) {
	names := func(works []Work) string {
		var all []string
		for _, w := range works {
			all = append(all, w.ID())
		}
		return strings.Join(all, " ")
	}
	for _, tt := range []struct{ pattern, chosen, left string }{
		{"L", "step-L/float32 step-L/bfloat16 step-L-15GB/float32", ""},
		{"step", "step-S/float32 step-S/bfloat16 step-M/float32 step-M/bfloat16", "step-L/float32 step-L/bfloat16 step-L-15GB/float32"},
		{"1024x4-b8-back.*/float32", "attention-8x1024x4-b8-backward/float32", ""},
		{"nothing", "", ""},
	} {
		chosen, left := Select(Works(), regexp.MustCompile(tt.pattern))
		if names(chosen) != tt.chosen || names(left) != tt.left {
			t.Errorf("%s: got %q and %q, want %q and %q", tt.pattern, names(chosen), names(left), tt.chosen, tt.left)
		}
	}
}

// tiny are shapes that cost nothing; every kind has one.
var tiny = map[string]Request{
	"gemm":         gemm(5, 6, 7, "tt"),
	"conv-forward": conv(1, 4, 3, "forward"), "conv-data": conv(1, 4, 3, "data"), "conv-weight": conv(1, 4, 3, "weight"),
	"attention-forward": attention(1, 2, 9, 3, "forward"), "attention-backward": attention(1, 2, 9, 3, "backward"),
	"norm-forward": norm(1, 4, 32, "forward"), "norm-backward": norm(1, 4, 32, "backward"),
	"adamw": elements("adamw", 70_000), "silu": elements("silu", 70_000),
}

func TestEveryKindRunsOnBothSides(t *testing.T) {
	be := cpu.New(2)
	defer be.Close()
	for _, w := range Works() {
		if err := timedIn(w.Kind, w.DType); err != nil {
			t.Errorf("%s: %v", w.ID(), err)
		}
		if !regexp.MustCompile(`"` + w.Kind + `": `).MatchString(peerScript) {
			t.Errorf("%s: peer.py has no kind %q", w.Work, w.Kind)
		}
		if _, ok := tiny[w.Kind]; !ok && !w.Step {
			t.Errorf("%s: kind %q has no tiny shape in this test", w.Work, w.Kind)
		}
	}
	flops := map[string]int64{}
	for kind, m := range kernelMakers() {
		job, err := m(be, tiny[kind])
		if err != nil {
			t.Errorf("%s: %v", kind, err)
			continue
		}
		if err := job.Run(); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		flops[kind] = job.FLOPs
	}
	maps.DeleteFunc(flops, func(_ string, n int64) bool { return n == 0 })
	if diff := cmp.Diff(map[string]int64{
		"gemm": 2 * 5 * 6 * 7, "conv-forward": 2 * 16 * 81, "conv-data": 2 * 16 * 81, "conv-weight": 2 * 16 * 81,
		"attention-forward": 2 * 2 * 2 * 81 * 3, "attention-backward": 5 * 2 * 2 * 81 * 3,
	}, flops); diff != "" {
		t.Errorf("FLOPs (-want +got):\n%s", diff)
	}
}

func TestNamesAreDistinct(t *testing.T) {
	seen := map[string]bool{}
	for _, w := range Works() {
		if seen[w.ID()] {
			t.Errorf("two rows are called %s", w.ID())
		}
		seen[w.ID()] = true
	}
}

func TestSizes(t *testing.T) {
	want := map[string][]string{
		"S": {"CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"}, "M": {"CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"},
		"L": {"CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"},
	}
	for _, letter := range slices.Sorted(maps.Keys(sizes)) {
		c, err := stepWork(letter, Float32).UNet()
		if err != nil {
			t.Errorf("%s: %v", letter, err)
		}
		if diff := cmp.Diff(want[letter], c.DownBlockTypes); diff != "" {
			t.Errorf("%s: down blocks (-want +got):\n%s", letter, diff)
		}
	}
}
