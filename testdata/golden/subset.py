#!/usr/bin/env python3
"""Copies the golden cases that the repository keeps from a full set, smaller where it can be.

    python testdata/golden/subset.py FULL_SET testdata/golden

FULL_SET is a set that make_golden.py wrote (folders 01_unet_sd, 03a_vae_sd, ...). Left out:
of 06 the runs of 25 steps of all classes but DDPM and DDIM; of 07a gradients and parameters of
more than 1,500 elements, and of 300 in the methods but MaPO (the per-parameter norms of all stay).
"""
import json, os, shutil, sys

from safetensors import safe_open
from safetensors.numpy import save_file

CASES = ["01_unet_sd", "03a_vae_sd", "04a_clip_text_quickgelu", "04d_clip_model_pickscore", "05_clip_tokenizer", "06_schedulers",
         "07a_train_sd", "07c_mapo_loss_function", "08a_lora_sd", "09c_storage_variants", "10_pair_preprocessing", "11_lr_schedules"]
LONG_RUNS = ("DDPMScheduler", "DDIMScheduler")
LARGEST, LARGEST_OTHER = 1500, 300


def rewrite(path, keep):
    """keeps the tensors for which keep(name, array) holds"""
    with safe_open(path, "np") as f:
        tensors = {k: f.get_tensor(k) for k in f.keys()}
    save_file({k: v for k, v in tensors.items() if keep(k, v)}, path)


def schedulers(folder):
    with open(os.path.join(folder, "case.json")) as f:
        case = json.load(f)
    runs = [r for r in case["args"]["runs"] if r["scheduler"] in LONG_RUNS or r["steps"] <= 10]
    dropped = {r["key"] for r in case["args"]["runs"]} - {r["key"] for r in runs}
    case["args"]["runs"] = runs
    case["tolerance"] = {k: v for k, v in case["tolerance"].items() if k.split(".")[0] not in dropped}
    with open(os.path.join(folder, "case.json"), "w") as f:
        json.dump(case, f, indent=1)
    rewrite(os.path.join(folder, "outputs.safetensors"), lambda k, v: k.split(".")[0] not in dropped)


def train(folder):
    def keep(name, array):
        method, kind = name.split(".")[:2]
        most = LARGEST if method.startswith("mapo_") else LARGEST_OTHER
        return kind not in ("grad", "param3") or array.size <= most
    rewrite(os.path.join(folder, "outputs.safetensors"), keep)


def main(full, to):
    for name in CASES:
        target = os.path.join(to, name)
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(os.path.join(full, name), target, copy_function=shutil.copyfile)
        for folder, _, files in os.walk(target):
            os.chmod(folder, 0o755)
            for f in files:
                os.chmod(os.path.join(folder, f), 0o644)
    schedulers(os.path.join(to, "06_schedulers"))
    train(os.path.join(to, "07a_train_sd"))


if __name__ == "__main__":
    main(*sys.argv[1:])
