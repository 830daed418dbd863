#!/usr/bin/env python3
"""Writes tiny-pipeline: a StableDiffusionPipeline folder with random weights, made by diffusers, whose
sizes and settings differ from the built-in model's; tiny-sdxl: a StableDiffusionXLPipeline; and pairs.parquet and pairs/, made by pyarrow and
Pillow. Run in this folder with torch, diffusers 0.42, transformers 5.23, pyarrow and Pillow:

    python make_tiny.py
"""
import io, json, shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, PNDMScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline, UNet2DConditionModel
from PIL import Image
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

HERE = Path(__file__).parent


def tokenizer(folder):
    folder.mkdir(parents=True, exist_ok=True)
    chars = [chr(c) for c in range(33, 127)] + [chr(c) for c in range(161, 173)] + [chr(c) for c in range(174, 256)]
    chars += [chr(256 + i) for i in range(256 - len(chars))]
    words = chars + [c + "</w>" for c in chars] + ["<|startoftext|>", "<|endoftext|>"]
    json.dump({w: i for i, w in enumerate(words)}, open(folder / "vocab.json", "w"))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=24), len(words)


def pipeline():
    torch.manual_seed(5)
    tok, vocab = tokenizer(HERE / "tiny-tokenizer")
    text = CLIPTextModel(CLIPTextConfig(
        vocab_size=vocab, hidden_size=24, intermediate_size=48, num_hidden_layers=2, num_attention_heads=3,
        max_position_embeddings=24, hidden_act="gelu", bos_token_id=vocab - 2, eos_token_id=vocab - 1, pad_token_id=vocab - 1))
    vae = AutoencoderKL(
        block_out_channels=[8, 16], down_block_types=["DownEncoderBlock2D"] * 2, up_block_types=["UpDecoderBlock2D"] * 2,
        layers_per_block=1, norm_num_groups=4, latent_channels=4, sample_size=24, scaling_factor=0.9)
    unet = UNet2DConditionModel(
        sample_size=12, block_out_channels=[8, 16], layers_per_block=[1, 2], attention_head_dim=[2, 4], cross_attention_dim=24,
        norm_num_groups=4, use_linear_projection=True, down_block_types=["DownBlock2D", "CrossAttnDownBlock2D"],
        up_block_types=["CrossAttnUpBlock2D", "UpBlock2D"])
    scheduler = PNDMScheduler(beta_schedule="linear", num_train_timesteps=500, prediction_type="v_prediction", skip_prk_steps=True)
    StableDiffusionPipeline(vae, text, tok, unet, scheduler, None, None, requires_safety_checker=False).save_pretrained(HERE / "tiny-pipeline")
    shutil.rmtree(HERE / "tiny-tokenizer")


def sdxl():
    torch.manual_seed(6)
    tok, vocab = tokenizer(HERE / "tiny-tokenizer")
    def text(**more):
        return CLIPTextConfig(vocab_size=vocab, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=24,
                              bos_token_id=vocab - 2, eos_token_id=vocab - 1, pad_token_id=vocab - 1, **more)
    one = CLIPTextModel(text(hidden_size=8, hidden_act="quick_gelu"))
    two = CLIPTextModelWithProjection(text(hidden_size=12, hidden_act="gelu", projection_dim=12))
    vae = AutoencoderKL(
        block_out_channels=[8, 8], down_block_types=["DownEncoderBlock2D"] * 2, up_block_types=["UpDecoderBlock2D"] * 2,
        layers_per_block=1, norm_num_groups=4, latent_channels=4, sample_size=24, scaling_factor=0.13025, force_upcast=True)
    unet = UNet2DConditionModel(
        sample_size=12, block_out_channels=[8, 16], layers_per_block=1, attention_head_dim=[2, 4], cross_attention_dim=20, norm_num_groups=4,
        use_linear_projection=True, transformer_layers_per_block=[1, 2], addition_embed_type="text_time", addition_time_embed_dim=4,
        projection_class_embeddings_input_dim=12 + 6 * 4, down_block_types=["DownBlock2D", "CrossAttnDownBlock2D"],
        up_block_types=["CrossAttnUpBlock2D", "UpBlock2D"])
    scheduler = EulerDiscreteScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012, timestep_spacing="leading", steps_offset=1)
    StableDiffusionXLPipeline(vae, one, two, tok, tok, unet, scheduler, add_watermarker=False).save_pretrained(HERE / "tiny-sdxl")
    shutil.rmtree(HERE / "tiny-tokenizer")


def pictures():
    r = np.random.default_rng(9)
    for i in range(10):
        h, w = (40, 56) if i % 2 else (48, 32)
        yield [Image.fromarray(np.kron(r.integers(0, 255, (h // 8, w // 8, 3), dtype=np.uint8), np.ones((8, 8, 1), np.uint8))) for _ in range(2)]


def encoded(image, kind):
    out = io.BytesIO()
    image.save(out, kind)
    return out.getvalue()


def data():
    rows, lines = [], []
    (HERE / "pairs").mkdir(exist_ok=True)
    for i, (a, b) in enumerate(pictures()):
        label = [1.0, 0.0, 0.5][i % 3]
        kinds = ["PNG", "JPEG", "WEBP"]
        rows.append(dict(jpg_0=encoded(a, kinds[i % 3]), jpg_1=encoded(b, kinds[(i + 1) % 3]), label_0=label, label_1=1 - label, caption=f"thing number {i}"))
        if i < 4:
            for name, image in (("w", a), ("l", b)):
                image.save(HERE / "pairs" / f"{i}{name}.png")
            lines.append(json.dumps(dict(prompt=f"thing number {i}", winner=f"{i}w.png", loser=f"{i}l.png")))
    rows.append(dict(rows[0], jpg_0=b"no picture"))
    pq.write_table(pa.Table.from_pylist(rows), HERE / "pairs.parquet")
    (HERE / "pairs" / "metadata.jsonl").write_text("\n".join(lines) + "\n")


pipeline()
sdxl()
data()
