//go:build unix

package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// loadPipeline loads a pipeline and compares its UNet with the file, bit for bit.
const loadPipeline = `
import sys, torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file
p = StableDiffusionPipeline.from_pretrained(sys.argv[1], safety_checker=None, local_files_only=True)
want = load_file(sys.argv[1] + "/unet/diffusion_pytorch_model.safetensors")
base = load_file(sys.argv[2] + "/unet/diffusion_pytorch_model.safetensors")
got = p.unet.state_dict()
assert got.keys() == want.keys(), set(got) ^ set(want)
for k in want:
    assert torch.equal(got[k], want[k]), k
assert any(not torch.equal(base[k], want[k]) for k in want), "nothing was trained"
from diffusers import UNet2DConditionModel
from diffusers.training_utils import EMAModel
ema = EMAModel.from_pretrained(sys.argv[1] + "/unet_ema", UNet2DConditionModel)
mean = load_file(sys.argv[1] + "/unet_ema/diffusion_pytorch_model.safetensors")
assert sum(e.numel() for e in ema.shadow_params) == sum(m.numel() for m in mean.values())
assert mean.keys() == want.keys() and any(not torch.equal(mean[k], want[k]) for k in want), "unet_ema is the unet"
image = p("thing number 1", num_inference_steps=2, height=24, width=24).images[0]
print("loaded", len(want), image.size)
`

// TestDiffusersLoadsTheResult needs a Python with diffusers: YOHAKU_VENV, by default .venv at the
// root of the repository.
func TestDiffusersLoadsTheResult(t *testing.T) {
	python, ok := python()
	if !ok {
		t.Skipf("no Python at %s: set YOHAKU_VENV to a virtual environment with diffusers, or make .venv", python)
	}
	c := newCluster(t)
	c.ends(c.up("run", "--local-workers", "1", "--steps", "6", "--use-ema"))
	out, err := exec.Command(python, "-c", loadPipeline, filepath.Join(c.out, "run", "final"), filepath.Join("testdata", "tiny-pipeline")).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "loaded ") {
		t.Errorf("diffusers does not load the result: %v\n%s", err, out)
	}
	t.Logf("%s", out)
}
