package main

import (
	"cmp"
	"os"
	"path/filepath"
	"testing"

	"yohaku/model/backend/cpu"
	"yohaku/model/bench"
)

// tinyStep is a step that takes next to nothing.
func tinyStep(t *testing.T) (*stepRun, *bench.Job) {
	be := cpu.New(1)
	t.Cleanup(be.Close)
	r := bench.Request{Work: "tiny", Kind: "step", DType: bench.Float32, Shape: map[string]int{"pairs": 2, "latent": 4, "tokens": 3}, Config: map[string]any{
		"block_out_channels": []int{32, 32}, "layers_per_block": 1, "attention_head_dim": 8, "cross_attention_dim": 8,
		"down_block_types": []string{"CrossAttnDownBlock2D", "DownBlock2D"}, "up_block_types": []string{"UpBlock2D", "CrossAttnUpBlock2D"},
	}}
	c, err := bench.StepConfig(r)
	if err != nil {
		t.Fatal(err)
	}
	run, job, err := newStep(be, c)
	if err != nil {
		t.Fatal(err)
	}
	return run, job
}

// TestStepAllocatesNothing: once scratch has grown, a whole step lives on the memory that is there.
func TestStepAllocatesNothing(t *testing.T) {
	_, job := tinyStep(t)
	step := func() {
		if err := job.Run(); err != nil {
			t.Fatal(err)
		}
	}
	step()
	if n := testing.AllocsPerRun(3, step); n != 0 {
		t.Errorf("%v allocations a step, want none", n)
	}
}

// TestStepTrains: what is timed moves the parameters, and counts its products.
func TestStepTrains(t *testing.T) {
	run, job := tinyStep(t)
	p := run.trainer.Params()[0]
	before := p.Data[0]
	for range 2 {
		if err := job.Run(); err != nil {
			t.Fatal(err)
		}
	}
	if p.Data[0] == before {
		t.Errorf("two steps left %s[0] at %g", p.Name, before)
	}
	if run.step != 2 || run.trainer.State().Updates != 2 {
		t.Errorf("%d steps with %d updates, want 2", run.step, run.trainer.State().Updates)
	}
	if job.FLOPs == 0 {
		t.Error("no products counted")
	}
}

func TestRefuses(t *testing.T) {
	for _, o := range []options{
		{pattern: "(", turns: 1, threads: 1},
		{pattern: "no such row", turns: 1, threads: 1},
		{turns: 0, threads: 1},
		{pattern: "silu", profile: t.TempDir(), turns: 1, threads: 1},
	} {
		o.ringRank = -1
		if err := run(t.Context(), o); err == nil {
			t.Errorf("%+v passes", o)
		}
	}
}

func TestFindPython(t *testing.T) {
	if _, err := findPython(t.TempDir()); err == nil {
		t.Error("found a Python in an empty folder")
	}
	dir := t.TempDir()
	for _, name := range []string{"bin/python", "Scripts/python.exe"} {
		p := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if p, err := findPython(dir); err != nil || !filepath.IsAbs(p) {
		t.Errorf("got %s, %v", p, err)
	}
}

// BenchmarkStep takes whole training steps of the row in BENCH_STEP, such as step-M/bfloat16: it shows that a step
// allocates nothing, and with -cpuprofile where its time goes.
func BenchmarkStep(b *testing.B) {
	row := cmp.Or(os.Getenv("BENCH_STEP"), "step-S/float32")
	for _, w := range bench.Works() {
		if w.ID() != row {
			continue
		}
		be := cpu.New(2)
		defer be.Close()
		job, err := makeStep(be, w.Request)
		if err != nil {
			b.Fatal(err)
		}
		if err := job.Run(); err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			if err := job.Run(); err != nil {
				b.Fatal(err)
			}
		}
	}
}
