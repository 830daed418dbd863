//go:build unix

package main

import (
	"image"
	"image/color"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
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

// makeTextAdapter has diffusers write an adapter of UNet and text encoders, with values that move the result.
const makeTextAdapter = `
import sys, torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from diffusers.utils import convert_state_dict_to_diffusers
from peft import LoraConfig, get_peft_model_state_dict
base, out, xl = sys.argv[1], sys.argv[2], sys.argv[3] == "xl"
torch.manual_seed(3)
cls = StableDiffusionXLPipeline if xl else StableDiffusionPipeline
p = cls.from_pretrained(base, local_files_only=True, **({} if xl else {"safety_checker": None}))
def layers(m, targets):
    m.add_adapter(LoraConfig(r=2, lora_alpha=3, target_modules=targets))
    for n, w in m.named_parameters():
        if "lora_" in n: torch.nn.init.normal_(w, std=0.3)
    return convert_state_dict_to_diffusers(get_peft_model_state_dict(m)), m.peft_config["default"]
text = ["q_proj", "k_proj", "v_proj", "out_proj"]
unet, uc = layers(p.unet, ["to_q", "to_k", "to_v", "to_out.0"])
one, oc = layers(p.text_encoder, text)
more, meta = {}, {"unet_lora_adapter_metadata": uc.to_dict(), "text_encoder_lora_adapter_metadata": oc.to_dict()}
if xl:
    two, tc = layers(p.text_encoder_2, text)
    more, meta["text_encoder_2_lora_adapter_metadata"] = {"text_encoder_2_lora_layers": two}, tc.to_dict()
cls.save_lora_weights(out, unet_lora_layers=unet, text_encoder_lora_layers=one, **more, **meta)
`

// loadTextAdapter holds embeddings and the UNet's prediction under an adapter in each layout to those of the merged model.
const loadTextAdapter = `
import sys, torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
base, dir, xl = sys.argv[1], sys.argv[2], sys.argv[3] == "xl"
cls = StableDiffusionXLPipeline if xl else StableDiffusionPipeline
def load(at): return cls.from_pretrained(at, local_files_only=True, **({} if xl else {"safety_checker": None}))
def predict(p):
    with torch.no_grad():
        e = p.encode_prompt("a thing", device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False)
        torch.manual_seed(0)
        x = torch.randn(1, 4, p.unet.config.sample_size, p.unet.config.sample_size)
        more = dict(added_cond_kwargs={"text_embeds": e[2], "time_ids": torch.tensor([[24., 24, 0, 0, 24, 24]])}) if xl else {}
        parts = [e[0], p.unet(x, torch.tensor([100]), e[0], **more).sample] + ([e[2]] if xl else [])
        return torch.cat([v.flatten() for v in parts])
want = predict(load(dir + "/merged"))
moved = (predict(load(base)) - want).abs().max().item()
assert moved > 1e-2, f"the adapter moves nothing: {moved}"
for file in ("adapter/pytorch_lora_weights.safetensors", "diffusers.safetensors", "kohya.safetensors"):
    p = load(base); p.load_lora_weights(dir + "/" + file)
    off = (predict(p) - want).abs().max().item()
    assert off < 2e-5, f"{file} is off by {off}"
print("loaded, moved by", moved)
`

// TestTextAdapters: an adapter of UNet and text encoders that diffusers wrote is merged as diffusers applies it, is sampled
// with, and every layout of it that is written here is loaded there.
func TestTextAdapters(t *testing.T) {
	venv, ok := python()
	if !ok {
		t.Skipf("no Python at %s: set YOHAKU_VENV to a virtual environment with diffusers and peft, or make .venv", venv)
	}
	for kind, model := range map[string]string{"sd": "tiny-pipeline", "xl": "tiny-sdxl"} {
		t.Run(kind, func(t *testing.T) {
			c := newCluster(t)
			dir := t.TempDir()
			base := filepath.Join("testdata", model)
			if out, err := exec.Command(venv, "-c", makeTextAdapter, base, filepath.Join(dir, "adapter"), kind).CombinedOutput(); err != nil {
				t.Fatalf("diffusers does not write the adapter: %v\n%s", err, out)
			}
			for _, args := range [][]string{
				{"lora", "convert", filepath.Join(dir, "adapter"), "--to", "kohya", "--out", filepath.Join(dir, "kohya.safetensors")},
				{"lora", "convert", filepath.Join(dir, "kohya.safetensors"), "--to", "peft", "--out", filepath.Join(dir, "peft")},
				{"lora", "convert", filepath.Join(dir, "peft"), "--to", "diffusers", "--out", filepath.Join(dir, "diffusers.safetensors")},
				{"lora", "merge", filepath.Join(dir, "diffusers.safetensors"), "--out", filepath.Join(dir, "merged")},
				{"sample", "--lora", filepath.Join(dir, "kohya.safetensors"), "--prompt", "thing", "--steps", "2", "--out", filepath.Join(dir, "lora.png")},
			} {
				c.succeeds(append(args, "--model", model)...)
			}
			c.succeeds("sample", "--model", filepath.Join(dir, "merged"), "--prompt", "thing", "--steps", "2", "--out", filepath.Join(dir, "merged.png"))
			c.succeeds("sample", "--model", model, "--prompt", "thing", "--steps", "2", "--out", filepath.Join(dir, "base.png"))
			if off, moved := distance(t, dir, "lora.png", "merged.png"), distance(t, dir, "base.png", "merged.png"); off > 1 || moved < 3 {
				t.Errorf("the picture with the adapter is off the merged model's by %d of 255, the base's by %d", off, moved)
			}
			out, err := exec.Command(venv, "-c", loadTextAdapter, base, dir, kind).CombinedOutput()
			if err != nil || !strings.Contains(string(out), "loaded, moved by") {
				t.Errorf("diffusers does not load the adapter as it is merged here: %v\n%s", err, out)
			}
		})
	}
}

// distance is the largest difference of two pictures, of 255.
func distance(t *testing.T, dir, a, b string) int {
	t.Helper()
	var pictures []image.Image
	for _, name := range []string{a, b} {
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		m, err := png.Decode(f)
		if err != nil {
			t.Fatal(err)
		}
		pictures = append(pictures, m)
	}
	most := 0
	for y := range pictures[0].Bounds().Dy() {
		for x := range pictures[0].Bounds().Dx() {
			p, q := color.RGBAModel.Convert(pictures[0].At(x, y)).(color.RGBA), color.RGBAModel.Convert(pictures[1].At(x, y)).(color.RGBA)
			most = max(most, abs(p.R, q.R), abs(p.G, q.G), abs(p.B, q.B))
		}
	}
	return most
}

func abs(a, b uint8) int { return max(int(a)-int(b), int(b)-int(a)) }

// TestMovingAverage: the UNet's moving average is the same by one worker, by two, in two parts, and where a worker
// joins in mid-run; it lies beside the UNet, differs from it, is checked by verify, and is what pictures are made with.
func TestMovingAverage(t *testing.T) {
	if testing.Short() {
		t.Skip("starts clusters")
	}
	c := newCluster(t)
	flags := []string{"--use-ema", "--ema-decay", "0.9", "--checkpointing-steps", "16"}
	c.ends(c.up("plain", "--local-workers", "1"))
	c.ends(c.up("one", append(flags, "--local-workers", "1")...))
	c.ends(c.up("two", append(flags, "--local-workers", "2")...))
	c.ends(c.up("parts", append(flags, "--local-workers", "1", "--steps", "16")...))
	c.ends(c.resume("parts", "--steps", strconv.Itoa(steps), "--local-workers", "2"))
	p := c.up("joined", append(flags, "--local-workers", "1")...)
	addr, token, err := p.joinLine()
	if err != nil {
		t.Fatal(err)
	}
	p.committed(t, 5)
	guest := c.command("worker", "join", addr, "--token", token, "--name", "guest", "--threads", "1", "--log-format", "json")
	p.event(t, "generation of two", func(e entry) bool { return e.Message == "generation formed" && e.WorldSize == 2 })
	c.ends(p)
	c.ends(guest)
	if !strings.Contains(guest.logText(), "caught up with the ring while it went on") {
		t.Error("the guest did not follow the ring")
	}
	want := c.report("one").CheckpointSHA256
	for _, id := range []string{"two", "parts", "joined"} {
		if got := c.report(id).CheckpointSHA256; got != want {
			t.Errorf("run %s: digest %s, by one worker %s", id, got, want)
		}
	}
	if c.report("plain").CheckpointSHA256 == want {
		t.Error("the digest does not depend on the moving average")
	}
	read := func(id, folder string) string {
		data, err := os.ReadFile(filepath.Join(c.out, id, "final", folder, "diffusion_pytorch_model.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	if read("one", "unet") != read("plain", "unet") {
		t.Error("the moving average changes the UNet itself")
	}
	if read("one", "unet") == read("one", "unet_ema") || read("parts", "unet_ema") != read("two", "unet_ema") {
		t.Error("the moving average is the UNet itself, or not that of another run")
	}
	c.succeeds("verify", "two", "--out", c.out, "--step", "20")
	dir := t.TempDir()
	for _, id := range []string{"plain", "one"} {
		c.succeeds("sample", "--model", filepath.Join(c.out, id, "final"), "--prompt", "thing", "--steps", "2", "--out", filepath.Join(dir, id+".png"))
	}
	if distance(t, dir, "plain.png", "one.png") == 0 {
		t.Error("the moving average is not what pictures are made with")
	}
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
