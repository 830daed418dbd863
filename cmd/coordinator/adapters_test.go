//go:build unix

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// loadAdapters loads an adapter in each layout with the library that it is for, and holds the UNet's prediction to that
// of the merged model.
const loadAdapters = `
import sys, torch
from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from peft import PeftModel
base, dir = sys.argv[1:]
torch.manual_seed(0)
def load():
    return StableDiffusionPipeline.from_pretrained(base, safety_checker=None, local_files_only=True)
merged = UNet2DConditionModel.from_pretrained(dir + "/merged/unet")
x, e = torch.randn(1, 4, merged.config.sample_size, merged.config.sample_size), torch.randn(1, 7, merged.config.cross_attention_dim)
def predict(unet):
    with torch.no_grad(): return unet(x, torch.tensor([100]), e).sample
want = predict(merged)
moved = (predict(load().unet) - want).abs().max().item()
assert moved > 1e-3, f"the adapter moves nothing: {moved}"
def check(name, unet):
    off = (predict(unet) - want).abs().max().item()
    assert off < 1e-5, f"{name} is off by {off}"
for file in ("diffusers.safetensors", "kohya.safetensors"):
    p = load(); p.load_lora_weights(dir + "/" + file); check(file, p.unet)
check("peft", PeftModel.from_pretrained(load().unet, dir + "/peft"))
print("loaded, moved by", moved)
`

// TestAdapters trains adapters by one worker, by two, and in two parts, to one digest; what it leaves is read back in
// every layout, and by other tools where they are installed.
func TestAdapters(t *testing.T) {
	if testing.Short() {
		t.Skip("starts clusters")
	}
	c := newCluster(t)
	flags := []string{"--lora-rank", "2", "--lora-alpha", "6", "--learning-rate", "1e-2", "--form", "dpo", "--steps", "20", "--checkpointing-steps", "8"}
	c.ends(c.up("one", append(flags, "--local-workers", "1")...))
	c.ends(c.up("two", append(flags, "--local-workers", "2")...))
	c.ends(c.up("parts", append(flags, "--local-workers", "1", "--lr-scheduler", "constant", "--steps", "8")...))
	c.ends(c.resume("parts", "--steps", "20", "--local-workers", "2"))
	want := c.report("one").CheckpointSHA256
	for _, id := range []string{"two", "parts"} {
		if got := c.report(id).CheckpointSHA256; got != want {
			t.Errorf("run %s: digest %s, by one worker %s", id, got, want)
		}
	}
	dir := t.TempDir()
	final := filepath.Join(c.out, "one", "final")
	c.succeeds("verify", "one", "--out", c.out, "--step", "17") // From a checkpoint and the base, which DPO compares with.
	for _, args := range [][]string{
		{"lora", "convert", final, "--to", "diffusers", "--out", filepath.Join(dir, "diffusers.safetensors")},
		{"lora", "convert", filepath.Join(dir, "diffusers.safetensors"), "--to", "kohya", "--out", filepath.Join(dir, "kohya.safetensors")},
		{"lora", "convert", filepath.Join(dir, "kohya.safetensors"), "--to", "peft", "--out", filepath.Join(dir, "peft")},
		{"lora", "merge", filepath.Join(dir, "peft"), "--out", filepath.Join(dir, "merged")},
		{"sample", "--lora", filepath.Join(dir, "kohya.safetensors"), "--prompt", "thing", "--steps", "2", "--out", filepath.Join(dir, "lora.png")},
	} {
		c.succeeds(append(args, "--model", "tiny-pipeline")...)
	}
	c.succeeds("sample", "--model", filepath.Join(dir, "merged"), "--prompt", "thing", "--steps", "2", "--out", filepath.Join(dir, "merged.png"))
	if venv, ok := python(); ok {
		out, err := exec.Command(venv, "-c", loadAdapters, filepath.Join("testdata", "tiny-pipeline"), dir).CombinedOutput()
		if err != nil || !strings.Contains(string(out), "loaded, moved by") {
			t.Errorf("other tools do not load the adapter: %v\n%s", err, out)
		}
	}
}

// TestSDXLAdapters trains adapters of a StableDiffusionXLPipeline, with some captions dropped, by one worker, by two, and by two
// in two parts, to one digest.
func TestSDXLAdapters(t *testing.T) {
	if testing.Short() {
		t.Skip("starts clusters")
	}
	c := newCluster(t)
	flags := []string{"--model", "tiny-sdxl", "--lora-rank", "2", "--learning-rate", "1e-2", "--proportion-empty-prompts", "0.3", "--steps", "12", "--checkpointing-steps", "5"}
	c.ends(c.up("one", append(flags, "--local-workers", "1")...))
	c.ends(c.up("two", append(flags, "--local-workers", "2")...))
	c.ends(c.up("parts", append(flags, "--local-workers", "2", "--steps", "5")...))
	c.ends(c.resume("parts", "--steps", "12", "--local-workers", "2"))
	c.ends(c.up("captions", append(flags, "--local-workers", "1", "--proportion-empty-prompts", "0")...))
	want := c.report("one").CheckpointSHA256
	for _, id := range []string{"two", "parts"} {
		if got := c.report(id).CheckpointSHA256; got != want {
			t.Errorf("run %s: digest %s, by one worker %s", id, got, want)
		}
	}
	if c.report("captions").CheckpointSHA256 == want {
		t.Error("dropped captions change nothing")
	}
	c.succeeds("verify", "two", "--out", c.out, "--step", "7")
}

// succeeds runs a command to its end.
func (c *cluster) succeeds(args ...string) {
	c.t.Helper()
	p := c.start(args...)
	if code := p.wait(runLimit); code != 0 {
		c.t.Fatalf("%v: exit code %d:\n%s", args, code, p.logText())
	}
}

// python is that of YOHAKU_VENV, by default .venv at the root of the repository, if there is one.
func python() (path string, ok bool) {
	venv := os.Getenv("YOHAKU_VENV")
	if venv == "" {
		venv = filepath.Join("..", "..", ".venv")
	}
	path = filepath.Join(venv, "bin", "python")
	_, err := os.Stat(path)
	return path, err == nil
}
