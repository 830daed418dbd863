package main

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"yohaku/internal/bytesize"
	"yohaku/internal/safetensors"
	"yohaku/model/backend/cpu"
	"yohaku/model/bench"
	"yohaku/model/checkpoint"
	"yohaku/model/layer"
	"yohaku/model/optim"
	"yohaku/model/train"
	"yohaku/worker/trainstep"
)

// fullSize loads a published model's UNet from a folder of random weights, which it makes if it is not there, and takes
// a MaPO step of one pair at 512×512. It prints what that took.
func fullSize(o options) error {
	r, ok := bench.Published()[o.full]
	if !ok {
		return fmt.Errorf("-full must be one of %v, got %q", slices.Sorted(maps.Keys(bench.Published())), o.full)
	}
	limit, err := bytesize.Parse(o.memory)
	if err != nil {
		return fmt.Errorf("-memory-limit: %w", err)
	}
	if o.folder == "" {
		return errors.New("-full needs -folder, where the random weights are or will be")
	}
	if o.bf16 {
		r.DType = bench.BFloat16
	}
	dir := filepath.Join(o.folder, o.full)
	size, err := prepareFolder(dir, r)
	if err != nil {
		return err
	}
	c, err := bench.StepConfig(r)
	if err != nil {
		return err
	}
	c.Memory.Limit = limit
	if o.lora > 0 {
		c.LoRA = &layer.LoRA{Rank: o.lora, Alpha: float64(o.lora), Targets: []string{"to_q", "to_k", "to_v", "to_out.0"}}
	}
	be := cpu.New(o.threads)
	defer be.Close()
	return takeFullStep(be, c, dir, size)
}

// prepareFolder makes the folder with weights in float32, or float16 for the largest, and tells their bytes.
func prepareFolder(dir string, r bench.Request) (int64, error) {
	file := filepath.Join(dir, checkpoint.DefaultWeightsFile)
	if _, err := os.Stat(file); errors.Is(err, os.ErrNotExist) {
		d := safetensors.F32
		if filepath.Base(dir) == "sdxl" {
			d = safetensors.F16
		}
		if err := bench.WriteUNet(dir, r, d); err != nil {
			return 0, err
		}
	}
	info, err := os.Stat(file)
	if err != nil {
		return 0, fmt.Errorf("find weights: %w", err)
	}
	return info.Size(), nil
}

func takeFullStep(be *cpu.Backend, c train.Config, dir string, size int64) error {
	start := time.Now()
	step, err := train.New(c, be)
	if err != nil {
		return err
	}
	built := time.Since(start)
	debug.FreeOSMemory() // What building left.
	if c.Memory.Limit > 0 {
		debug.SetMemoryLimit(c.Memory.Limit)
	}
	before := resident()
	start = time.Now()
	if err := loadFull(step, c, dir); err != nil {
		return err
	}
	loaded, peak := time.Since(start), resident()
	trainer, err := trainstep.New(newModel(c, step), trainstep.Hyper{
		Optimizer: optim.DefaultAdamW(), LearningRate: func(int) float64 { return 1e-5 }, MaxGradNorm: 1, MicroBatches: 1, ItemsPerStep: c.Items,
	}, be.Pool())
	if err != nil {
		return err
	}
	cost, err := train.Estimate(c, be)
	if err != nil {
		return err
	}
	debug.FreeOSMemory()
	start = time.Now()
	trainer.Clear()
	stats, err := trainer.Add(0, 0, nil)
	if err != nil {
		return err
	}
	gradient := time.Since(start)
	sums, needed := trainer.Sums()
	if trainer.Overflowed(needed) { // The first step's exponents are made of what it needs; its sums are not used.
		trainer.Recalibrate(needed)
	}
	start = time.Now()
	update := trainer.Apply(0, sums, needed, len(trainer.Bad()) > 0)
	applied := time.Since(start)
	if math.IsNaN(stats.Loss) || math.IsInf(stats.Loss, 0) || len(trainer.Bad()) > 0 {
		return fmt.Errorf("loss %v with gradients that are not finite at %v", stats.Loss, trainer.Bad())
	}
	plan := 4*(cost.Trained+cost.Frozen) + c.Memory.PerTrained*cost.Trained + cost.SlabBytes
	fmt.Printf("%s: %d trained and %d frozen parameters; weights' file %s; plan %s, of it temporaries %s\n", filepath.Base(dir), cost.Trained, cost.Frozen, bytesize.Format(size), bytesize.Format(plan), bytesize.Format(cost.SlabBytes))
	fmt.Printf("resident before loading %s; peak while loading %s\n", before.now, peak.peak)
	fmt.Printf("peak to the end of the step %s\n", resident().peak)
	fmt.Printf("build %.1f s, load %.1f s, micro-batch %.1f s (%.0f GFLOP/s), update %.1f s; loss %g, gradient norm %g\n",
		built.Seconds(), loaded.Seconds(), gradient.Seconds(), float64(cost.FLOPs)/1e9/gradient.Seconds(), applied.Seconds(), stats.Loss, update.GradNorm)
	return nil
}

func loadFull(step *train.Step, c train.Config, dir string) error {
	f, err := checkpoint.OpenFolder(dir)
	if err != nil {
		return err
	}
	if c.LoRA == nil {
		return step.Load(f)
	}
	step.InitAdapters(seed)
	return step.LoadBase(f)
}

// usage is the process's resident memory as the kernel tells it, such as "123 kB"; empty where it does not.
type usage struct{ now, peak string }

func resident() usage {
	data, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return usage{"unknown", "unknown"}
	}
	find := func(key string) string {
		_, rest, _ := strings.Cut(string(data), key+":")
		line, _, _ := strings.Cut(rest, "\n")
		return strings.TrimSpace(line)
	}
	return usage{find("VmRSS"), find("VmHWM")}
}
