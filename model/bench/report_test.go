package bench

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
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
