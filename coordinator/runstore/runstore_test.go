package runstore

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"yohaku/internal/wire"
)

func newRun(t *testing.T) *Run {
	t.Helper()
	r, err := Create(t.TempDir(), Manifest{RunID: "r1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

func lines(t *testing.T, path string) []string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
}

func TestARunIsCreatedOnceAndLocked(t *testing.T) {
	r := newRun(t)
	if _, err := Create(filepath.Dir(r.Dir), Manifest{RunID: "r1"}); !errors.Is(err, ErrExists) {
		t.Errorf("second Create: %v, want ErrExists", err)
	}
	if _, err := Open(r.Dir); !errors.Is(err, ErrLocked) {
		t.Errorf("Open of a run in use: %v, want ErrLocked", err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Open(r.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if again.Manifest.RunID != "r1" {
		t.Errorf("run id %q", again.Manifest.RunID)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}

func TestRewindForgetsLaterStepsAndTheChainHolds(t *testing.T) {
	r := newRun(t)
	report := func(step int) wire.StepReport {
		return wire.StepReport{Step: step, ParamsSHA256: "p", Nodes: []string{"a"}, Shares: [][]int{{0, 1}}}
	}
	for step := 1; step <= 3; step++ {
		if err := r.AppendStep(report(step)); err != nil {
			t.Fatal(err)
		}
	}
	want := lines(t, r.Path("ledger.jsonl"))
	f, err := os.OpenFile(r.Path("metrics.jsonl"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"step":4,"lo`); err != nil { // As a crash leaves it.
		t.Fatal(err)
	}
	if err := errors.Join(f.Close(), r.RewindTo(2)); err != nil {
		t.Fatal(err)
	}
	if got := lines(t, r.Path("metrics.jsonl")); len(got) != 2 {
		t.Errorf("metrics after the rewind: %q, want 2 lines", got)
	}
	if err := r.AppendStep(report(3)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, lines(t, r.Path("ledger.jsonl"))); diff != "" {
		t.Errorf("ledger after doing step 3 again (-want +got):\n%s", diff)
	}
}

func TestCheckpointsAreWholePrunedAndVerified(t *testing.T) {
	r := newRun(t)
	source := filepath.Join(t.TempDir(), "w")
	if err := os.WriteFile(source, []byte("weights"), 0o600); err != nil {
		t.Fatal(err)
	}
	ref, err := HashFile(source)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []int{10, 20, 30} {
		if err := r.SaveCheckpoint(step, "d", []File{{Path: "unet/w", Source: source, SHA256: ref.SHA256}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(r.Path("checkpoints", "step-000040"), 0o755); err != nil { // Unfinished.
		t.Fatal(err)
	}
	if err := r.Prune(2); err != nil {
		t.Fatal(err)
	}
	all, err := r.Checkpoints()
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 2 || all[0].Step != 20 || all[1].Step != 30 {
		t.Fatalf("checkpoints %+v, want steps 20 and 30", all)
	}
	if err := all[1].Verify(); err != nil {
		t.Error(err)
	}
	if got, err := os.ReadFile(r.Path("final", "unet", "w")); err != nil || string(got) != "weights" {
		t.Errorf("final: %q, %v", got, err)
	}
	if err := os.WriteFile(filepath.Join(all[1].Dir, "unet", "w"), []byte("weightz"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := all[1].Verify(); err == nil || !strings.Contains(err.Error(), "unet/w") {
		t.Errorf("a changed file: error %v, want one that names it", err)
	}
}

func TestFind(t *testing.T) {
	r := newRun(t)
	out := filepath.Dir(r.Dir)
	for _, run := range []string{"", "latest", "r1", r.Dir} {
		if got, err := Find(out, run); err != nil || got != r.Dir {
			t.Errorf("Find(%q) = %q, %v", run, got, err)
		}
	}
	if _, err := Find(out, "r2"); err == nil || !strings.Contains(err.Error(), `"r2"`) {
		t.Errorf("unknown run: %v", err)
	}
}

// TestACrashBetweenTheLogs: a step that only the metrics have was not acknowledged, and goes.
func TestACrashBetweenTheLogs(t *testing.T) {
	r := newRun(t)
	for step := 1; step <= 3; step++ {
		if err := r.AppendStep(wire.StepReport{Step: step, Nodes: []string{"a"}, Shares: [][]int{{0}}}); err != nil {
			t.Fatal(err)
		}
	}
	if last, err := r.LastStep(); last.Step != 3 || err != nil {
		t.Errorf("last step %d, %v; want 3", last.Step, err)
	}
	if err := r.metrics.Append(wire.StepReport{Step: 4}); err != nil {
		t.Fatal(err)
	}
	if last, err := r.LastStep(); last.Step != 3 || err != nil || len(lines(t, r.Path("metrics.jsonl"))) != 3 {
		t.Errorf("last step %d, %v; want 3, and 3 lines", last.Step, err)
	}
}

// TestConditions: who holds a run, who died in it, and what the same command takes up.
func TestConditions(t *testing.T) {
	out := t.TempDir()
	r, err := Create(out, Manifest{RunID: "r"})
	if err != nil {
		t.Fatal(err)
	}
	if c, err := Inspect(r.Dir); c != (Condition{Held: true, PID: os.Getpid()}) || err != nil {
		t.Errorf("at work: %+v, %v", c, err)
	}
	for _, id := range []string{"", "r"} {
		if dir, err := Unfinished(out, id); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), strconv.Itoa(os.Getpid())) {
			t.Errorf("%q at work: %q, %v; want ErrLocked with the process", id, dir, err)
		}
	}
	if dir, err := Unfinished(out, "other"); dir != "" || err != nil {
		t.Errorf("another run: %q, %v", dir, err)
	}
	r.Unfinished = true // As a kill leaves it.
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if c, err := Inspect(r.Dir); !c.Died || c.Held || err != nil {
		t.Errorf("killed: %+v, %v", c, err)
	}
	if dir, err := Unfinished(out, ""); dir != r.Dir || err != nil {
		t.Errorf("killed: %q, %v; want the run", dir, err)
	}
	again, err := Open(r.Dir)
	if err != nil || !again.Unfinished {
		t.Fatalf("taken up: unfinished %v, %v", again.Unfinished, err)
	}
	again.Unfinished = false
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
	if dir, err := Unfinished(out, ""); dir != "" || err != nil {
		t.Errorf("ended: %q, %v; want none", dir, err)
	}
}

// TestUnfinishedCheckpointsAreRemoved: what a killed coordinator left of a checkpoint is no checkpoint, and goes when the run is opened again.
func TestUnfinishedCheckpointsAreRemoved(t *testing.T) {
	r := newRun(t)
	left := r.Path("checkpoints", ".step-123.tmp")
	if err := os.MkdirAll(filepath.Join(left, "unet"), 0o755); err != nil {
		t.Fatal(err)
	}
	if all, err := r.Checkpoints(); err != nil || len(all) != 0 {
		t.Errorf("checkpoints %v, error %v, want none", all, err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Open(r.Dir)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there: %v", left, err)
	}
}

// TestOwnFilesAreNotCopied: a checkpoint takes the run's own files under another name, and keeps them when the first one goes.
func TestOwnFilesAreNotCopied(t *testing.T) {
	r := newRun(t)
	source := r.Path("blobs", "w")
	if err := os.WriteFile(source, []byte("weights"), 0o600); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(source)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := HashFile(source)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.SaveCheckpoint(1, "d", []File{{Path: "unet/w", Source: source, SHA256: ref.SHA256, Own: true}}); err != nil {
		t.Fatal(err)
	}
	after, err := os.Stat(r.Path("final", "unet", "w"))
	if err != nil || !os.SameFile(before, after) {
		t.Errorf("the checkpoint's file is another one (%v)", err)
	}
	if err := os.Remove(source); err != nil {
		t.Fatal(err)
	}
	all, err := r.Checkpoints()
	if err != nil || len(all) != 1 {
		t.Fatal(all, err)
	}
	if err := all[0].Verify(); err != nil {
		t.Error(err)
	}
}
