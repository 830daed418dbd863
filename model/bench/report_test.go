package bench

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"yohaku/model/compile"
	"yohaku/model/op"
)

func TestJSONLines(t *testing.T) {
	step := Result{Work: Work{Request: Request{Work: "step-S", DType: Float32}, Step: true},
		Ours: Figures{MS: 2, PeakBytes: 1e6}, Peer: Figures{MS: 5, PeakBytes: 4e6}}
	alone := Result{Work: named("silu"), Ours: Figures{MS: 2}}
	var got strings.Builder
	for _, r := range []Result{step, alone} {
		if err := r.WriteJSON(&got); err != nil {
			t.Fatal(err)
		}
	}
	want := `{"work":"step-S","dtype":"float32","ours":2,"peer":5,"unit":"ms","ratio":2.5}
{"work":"step-S-memory","dtype":"float32","ours":1,"peer":4,"unit":"MB","ratio":4}
{"work":"silu","dtype":"float32","ours":2,"peer":null,"unit":"ms","ratio":null}
`
	if diff := cmp.Diff(want, got.String()); diff != "" {
		t.Error(diff)
	}
}

func TestTableRow(t *testing.T) {
	r := Result{Work: named("sgemm"), Ours: Figures{MS: 2, Turns: []float64{2, 2}, FLOPs: 4e8}, Peer: Figures{MS: 5, Turns: []float64{4, 6}, Variant: "nhwc"}, Others: 0.25}
	var got strings.Builder
	if err := Header(&got); err != nil {
		t.Fatal(err)
	}
	if err := r.WriteRow(&got); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(got.String()), "\n")
	if len(lines) != 3 || len([]rune(lines[0])) != len([]rune(lines[2])) {
		t.Fatalf("table is not aligned:\n%s", got.String())
	}
	want := "| sgemm | float32 | 2.000 | 5.000 | 2.50 | 2.00–3.00 | 200 | 80 | | | 0.25 | nhwc |"
	if diff := cmp.Diff(want, strings.Join(strings.Fields(lines[2]), " ")); diff != "" {
		t.Error(diff)
	}
	if !r.Busy() {
		t.Error("a quarter of a processor taken by others does not count as busy")
	}
}

func TestMachineTellsOfThisProcess(t *testing.T) {
	if busy() == 0 {
		t.Log("the system does not tell the processors' times")
		return
	}
	if peakBytes() < 1<<20 {
		t.Errorf("peak memory %d bytes, want a test's", peakBytes())
	}
	if Load() == "" || Machine() == "" {
		t.Errorf("load %q, machine %q", Load(), Machine())
	}
}

// TestProfileOfATinyStep: the instructions of a whole training graph are measured, and written the slowest first.
func TestProfileOfATinyStep(t *testing.T) {
	s := size{channels: []int{32, 32}, layers: 1, latent: 4, cross: 8, pairs: 1}
	r := Request{Work: "tiny", Kind: "step", DType: Float32, Config: s.config(), Shape: map[string]int{"pairs": 1, "latent": 4, "tokens": 3, "cross": 8}}
	stopped := false
	code, err := Profile(r, 1, 2, func() (func() error, error) { return func() error { stopped = true; return nil }, nil })
	if err != nil {
		t.Fatal(err)
	}
	var total time.Duration
	for _, c := range code {
		total += c.Time
	}
	if total <= 0 || !stopped {
		t.Errorf("measured %v, stopped %v", total, stopped)
	}
}

func TestWriteProfile(t *testing.T) {
	var got strings.Builder
	err := WriteProfile(&got, "title", []compile.InstructionProfile{
		{Op: "linear", Scope: "a", Operands: []op.Shape{{1000, 250}}, Time: time.Millisecond, FLOPs: 5e6},
		{Op: "linear", Scope: "b", Backward: true, Time: 3 * time.Millisecond},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"title: 2 instructions, 4.00 ms", "",
		"operator count ms share GFLOP/s", "linear (backward) 1 3.000 75.0%", "linear 1 1.000 25.0% 5.0", "",
		"ms share GFLOP/s operand MB operator scope operands", "3.000 75.0% 0.00 linear (backward) b", "1.000 25.0% 5.0 1.00 linear a 1000×250", "",
	}
	var lines []string
	for l := range strings.Lines(got.String()) {
		lines = append(lines, strings.Join(strings.Fields(l), " "))
	}
	if diff := cmp.Diff(want, append(lines, "")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
