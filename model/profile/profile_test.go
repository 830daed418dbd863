package profile

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"yohaku/model/compile"
	"yohaku/model/op"
)

var code = []compile.InstructionProfile{
	{Op: "linear", Scope: "down_blocks.0.attentions.0.proj_in", Operands: []op.Shape{{1000, 200}}, Results: []op.Shape{{1000, 50}}, Time: time.Millisecond, Last: time.Millisecond, FLOPs: 5e6},
	{Op: "silu", Scope: "down_blocks.0.attentions.0.act", Time: time.Millisecond / 2, Start: time.Millisecond, Last: time.Millisecond},
	{Op: "linear", Scope: "b", Backward: true, Time: 3 * time.Millisecond, Start: 2 * time.Millisecond, Last: 4 * time.Millisecond},
	{Op: "silu", Scope: "b", Backward: true, Again: true, Time: time.Millisecond / 2},
}

func TestWriteTable(t *testing.T) {
	var got strings.Builder
	if err := WriteTable(&got, "title", code); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"title: 4 instructions, 5.00 ms", "",
		"operator count ms share GFLOP/s GB/s", "linear (backward) 1 3.000 60.0%", "linear 1 1.000 20.0% 5.0 1.0",
		"silu 1 0.500 10.0%", "silu (again) 1 0.500 10.0%", "",
		"ms share GFLOP/s MB operator scope operands", "3.000 60.0% 0.00 linear (backward) b",
		"1.000 20.0% 5.0 1.00 linear down_blocks.0.attentions.0.proj_in 1000×200",
		"0.500 10.0% 0.00 silu down_blocks.0.attentions.0.act", "0.500 10.0% 0.00 silu (again) b", "",
	}
	var lines []string
	for l := range strings.Lines(got.String()) {
		lines = append(lines, strings.Join(strings.Fields(l), " "))
	}
	if diff := cmp.Diff(want, append(lines, "")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestWriteTrace: the file is what the viewers read, with a row of instructions and one of the network's parts.
func TestWriteTrace(t *testing.T) {
	base := filepath.Join(t.TempDir(), "step")
	if err := Files(base, `a "title"`, code); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(base + ".trace.json")
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		TraceEvents []struct {
			Name, Cat, Ph string
			TS, Dur       float64
			PID, TID      int
			Args          map[string]any
		}
	}
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatalf("%v in\n%s", err, data)
	}
	var names []string
	for _, e := range got.TraceEvents {
		if e.Ph != "X" || e.PID == 0 || e.TID == 0 {
			t.Errorf("event %+v is not complete", e)
		}
		names = append(names, e.Name+" "+e.Cat)
	}
	want := []string{"down_blocks.0.attentions.0 forward", "b backward", "b again", "linear forward", "silu forward", "linear backward", "silu again"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if first := got.TraceEvents[0]; first.TS != 0 || first.Dur != 2000 {
		t.Errorf("the first part goes from %g for %g µs, want from 0 for 2000", first.TS, first.Dur)
	}
	if rate := got.TraceEvents[3].Args["gflops_per_second"]; rate != 5.0 {
		t.Errorf("gflops_per_second is %v, want 5", rate)
	}
}
