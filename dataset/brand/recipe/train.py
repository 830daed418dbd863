"""Trains the demo's base model: a complete StableDiffusionPipeline folder for 64x64 product pictures.

  go run ./dataset/brand/recipe/draw -out DATA
  python train.py tokenizer DATA BASE
  python train.py vae DATA BASE --minutes 15
  python train.py unet DATA BASE --minutes 45 [--resume]
  python train.py decoder DATA BASE --minutes 10
  python train.py sample BASE sheet.png

Needs torch, diffusers and transformers (see README.md for the versions). Every part is written to BASE
as fp16 safetensors, also in the middle of the training.
"""
import argparse, json, math, os, time
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from bpe import write_tokenizer

LENGTH = 32  # tokens of a prompt, padded
PICTURES = 12000  # of the drawn ones, for the UNet


def pictures(data):
    flat = np.memmap(data / "pictures.u8", np.uint8, "r")
    return torch.from_numpy(flat.reshape(-1, 64, 64, 3))


def captions(data):
    return [json.loads(line) for line in open(data / "captions.jsonl")]


def to_model(batch):
    """uint8 NHWC to float NCHW in [-1, 1]."""
    return batch.permute(0, 3, 1, 2).float().contiguous() / 127.5 - 1


# --- training helpers: one process of one thread for each core, gradients averaged (torchrun)

def start_ranks():
    if "RANK" in os.environ:
        dist.init_process_group("gloo")


def rank():
    return dist.get_rank() if dist.is_initialized() else 0


def share_gradients(parameters):
    if not dist.is_initialized():
        return
    grads = [p.grad for p in parameters]
    flat = torch.cat([g.flatten() for g in grads])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    for g, v in zip(grads, flat.split([g.numel() for g in grads])):
        g.copy_(v.view_as(g))


def passed_time(start, spent, minutes):
    """The used share of the time budget, by rank 0's clock."""
    t = torch.tensor([(spent + time.time() - start) / 60 / minutes])
    if dist.is_initialized():
        dist.broadcast(t, 0)
    return t.item()


class Average:
    """Exponential moving average of parameters."""

    def __init__(self, parameters, decay):
        self.live, self.decay, self.n = list(parameters), decay, 0
        self.mean = [p.detach().clone() for p in self.live]

    @torch.no_grad()
    def update(self):
        self.n += 1
        d = min(self.decay, (1 + self.n) / (10 + self.n))
        torch._foreach_lerp_(self.mean, [p.detach() for p in self.live], 1 - d)

    @torch.no_grad()
    def swap(self):
        for p, m in zip(self.live, self.mean):
            keep = p.detach().clone()
            p.copy_(m)
            m.copy_(keep)


def learning_rate(peak, step, passed, warmup=100):
    """Linear warm-up in steps, then half a cosine over the time budget, down to 2 %."""
    return peak * min(1, (step + 1) / warmup) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1, passed))))


def save_half(model, folder):
    """Writes fp16 weights without changing the live model."""
    temporary = folder.with_name(folder.name + ".new")
    model.half().save_pretrained(temporary, safe_serialization=True)
    model.float()
    config = json.loads((temporary / "config.json").read_text())
    if "dtype" in config:  # Otherwise transformers 5 computes in fp16 beside diffusers' float32.
        config["dtype"] = "float32"
    config.pop("_name_or_path", None)
    (temporary / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    folder.mkdir(parents=True, exist_ok=True)
    for f in temporary.iterdir():
        os.replace(f, folder / f.name)
    temporary.rmdir()


# --- autoencoder

def picture_loss(y, x):
    """Distances of pixels, of edges, and of 8x8 blocks' colours."""
    edges = sum((y.diff(dim=d) - x.diff(dim=d)).abs().mean() for d in (2, 3))
    blocks = (F.avg_pool2d(y, 8) - F.avg_pool2d(x, 8)).abs().mean()
    return (y - x).abs().mean() + edges + blocks


def vae(data, base, minutes, batch=4, kl_weight=2e-4, resume=False):
    torch.manual_seed(1)
    images = pictures(data)
    model = AutoencoderKL(
        sample_size=64, block_out_channels=[24, 48, 48], layers_per_block=1, latent_channels=4, norm_num_groups=8,
        down_block_types=["DownEncoderBlock2D"] * 3, up_block_types=["UpDecoderBlock2D"] * 3)
    if resume:
        model.load_state_dict(AutoencoderKL.from_pretrained(base / "vae").state_dict())
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.99), weight_decay=1e-4, fused=True)
    average = Average(model.parameters(), 0.998)
    torch.manual_seed(100 + rank())
    start, saved, step = time.time(), 0, 0
    while (passed := passed_time(start, 0, minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(1e-3, step, passed)
        x = to_model(images[torch.randint(len(images) - 256, (batch,))])
        with torch.autocast("cpu", torch.bfloat16, enabled=BF16):
            posterior = model.encode(x).latent_dist
            y = model.decode(posterior.mean + torch.exp(0.5 * posterior.logvar) * torch.randn_like(posterior.mean)).sample
        y = y.float()
        # Three latent channels start as the blurred picture, so that no colour axis is lost; the pull fades.
        anchor = (posterior.mean[:, :3].float() - 2 * F.avg_pool2d(x, 4)).abs().mean()
        kl = 0.5 * (posterior.mean.float() ** 2 + posterior.var.float() - 1 - posterior.logvar.float()).mean()
        loss = picture_loss(y, x) + max(0.02, 1 - 3 * passed) * anchor + kl_weight * kl
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        share_gradients(model.parameters())
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1)
        optimizer.step()
        average.update()
        if step % 50 == 0 and rank() == 0:
            print(f"vae {step} {time.time() - start:.0f}s loss {loss:.4f} l1 {(y - x).abs().mean():.4f} anchor {anchor:.3f} kl {kl:.2f}", flush=True)
        step += 1
        if rank() == 0 and time.time() - start - saved > 240:
            saved = time.time() - start
            average.swap(); finish_vae(model, images, base); average.swap()
    average.swap()
    if rank() == 0:
        finish_vae(model, images, base)


def decoder(data, base, minutes, batch=5):
    """Sharpens the decoder alone: the encoder, and with it the UNet's latents, stays as it is."""
    torch.manual_seed(3)
    images, latents = pictures(data), encode_all(data, base)
    model = AutoencoderKL.from_pretrained(base / "vae")
    parameters = [*model.post_quant_conv.parameters(), *model.decoder.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, betas=(0.9, 0.99), weight_decay=1e-4, fused=True)
    average = Average(parameters, 0.998)
    torch.manual_seed(300 + rank())
    start, step = time.time(), 0
    while (passed := passed_time(start, 0, minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(1e-3, step, passed)
        pick = torch.randint(len(latents) - 256, (batch,))
        x, moments = to_model(images[pick]), latents[pick]
        # A little noise stands for the errors of the UNet.
        z = moments[:, 0] + (moments[:, 1] + 0.03 * torch.rand(batch, 1, 1, 1)) * torch.randn_like(moments[:, 0])
        with torch.autocast("cpu", torch.bfloat16, enabled=BF16):
            y = model.decode(z / model.config.scaling_factor).sample
        loss = picture_loss(y.float(), x)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        share_gradients(parameters)
        torch.nn.utils.clip_grad_norm_(parameters, 1)
        optimizer.step()
        average.update()
        step += 1
        if step % 50 == 0 and rank() == 0:
            print(f"decoder {step} {time.time() - start:.0f}s loss {loss:.4f}", flush=True)
    average.swap()
    if rank() == 0:
        scale = model.config.scaling_factor
        finish_vae(model, images, base)
        set_scale(base, scale)


def set_scale(base, scale):
    """Restores the scale that the UNet's latents were made with."""
    path = base / "vae" / "config.json"
    config = json.loads(path.read_text())
    config["scaling_factor"] = scale
    path.write_text(json.dumps(config, indent=2) + "\n")


@torch.no_grad()
def finish_vae(model, images, base):
    """Measures the latents' scale and the held-back reconstruction error, and saves."""
    x = to_model(images[-256:])
    posterior = model.encode(x).latent_dist
    y = model.decode(posterior.mean).sample.clamp(-1, 1)
    model.register_to_config(scaling_factor=round(1 / posterior.sample().std().item(), 5))
    psnr = -10 * math.log10(((y - x) / 2).pow(2).mean())
    print(f"vae psnr {psnr:.2f} dB, scaling factor {model.config.scaling_factor}", flush=True)
    save_half(model, base / "vae")
    sheet(torch.cat([x[:20], y[:20]]), base.with_name("vae.png"), 10)


def sheet(images, path, columns):
    from PIL import Image
    a = ((images.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()
    rows = len(a) // columns
    a = a[:rows * columns].reshape(rows, columns, 64, 64, 3).transpose(0, 2, 1, 3, 4).reshape(rows * 64, columns * 64, 3)
    im = Image.fromarray(a)
    im.resize((im.width * 2, im.height * 2), Image.NEAREST).save(path)


# --- UNet and text encoder, trained together

def make_unet():
    return UNet2DConditionModel(
        sample_size=16, in_channels=4, out_channels=4, layers_per_block=1, block_out_channels=[64, 128],
        down_block_types=["DownBlock2D", "CrossAttnDownBlock2D"],
        up_block_types=["CrossAttnUpBlock2D", "UpBlock2D"],
        cross_attention_dim=128, attention_head_dim=4, norm_num_groups=16)


def make_text_encoder(tokenizer):
    return CLIPTextModel(CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=128, intermediate_size=512, projection_dim=128, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=LENGTH, hidden_act="quick_gelu",
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id))


def make_scheduler():
    # The last alpha_bar is 2.4e-4: pure noise says almost nothing of the picture's mean colour, so
    # sampling from pure noise gives all colours their share. There the velocity is almost the picture
    # itself, so colours weigh as much as shapes; in the error of epsilon they would weigh almost nothing.
    return DDIMScheduler(num_train_timesteps=1000, beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.02,
                         clip_sample=False, set_alpha_to_one=False, steps_offset=1, prediction_type="v_prediction")


@torch.no_grad()
def encode_all(data, base):
    """Mean and standard deviation of every picture's latent, scaled to unit variance; ranks share the work."""
    model = AutoencoderKL.from_pretrained(base / "vae").eval()
    world = dist.get_world_size() if dist.is_initialized() else 1
    images, out = pictures(data)[:PICTURES], []
    for part in images.chunk(world)[rank()].split(100):
        with torch.autocast("cpu", torch.bfloat16, enabled=BF16):
            d = model.encode(to_model(part)).latent_dist
        out.append(torch.stack([d.mean, d.std], 1).float() * model.config.scaling_factor)
    mine = torch.cat(out)
    if world == 1:
        return mine
    parts = [torch.empty_like(mine) for _ in range(world)]
    dist.all_gather(parts, mine)
    return torch.cat(parts)


def token_ids(tokenizer, texts):
    return tokenizer(texts, padding="max_length", max_length=LENGTH, truncation=True, return_tensors="pt").input_ids


def unet(data, base, minutes, batch=10, resume=False):
    torch.manual_seed(2)
    tokenizer = CLIPTokenizer.from_pretrained(base / "tokenizer")
    ids = token_ids(tokenizer, [t for line in captions(data)[:PICTURES] for t in line]).view(-1, 4, LENGTH)
    empty = token_ids(tokenizer, [""])
    latents = encode_all(data, base)
    print("latents", latents.shape, "std", (latents[:, 0].float().std()).item(), flush=True)
    model, text, noises = make_unet(), make_text_encoder(tokenizer), make_scheduler()
    parameters = [*model.parameters(), *text.parameters()]
    print("unet", sum(p.numel() for p in model.parameters()), "text", sum(p.numel() for p in text.parameters()))
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, betas=(0.9, 0.99), weight_decay=1e-3, fused=True)
    average = Average(parameters, 0.998)
    start, step, spent = time.time(), 0, 0.0
    state_file = base.with_name("unet_state.pt")
    if resume:
        s = torch.load(state_file, weights_only=True)
        model.load_state_dict(s["unet"]); text.load_state_dict(s["text"]); optimizer.load_state_dict(s["optimizer"])
        average.mean, average.n, step, spent = s["mean"], s["n"], s["step"], s["spent"]
    kinds = torch.tensor([0.4, 0.2, 0.15, 0.25])  # caption with colour and background, colour, background, neither
    torch.manual_seed(1000 * step + rank())
    order, saved, losses = torch.empty(0, dtype=torch.long), time.time(), []
    while (passed := passed_time(start, spent, minutes)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(PEAK, step, passed, 200)
        if len(order) < batch:
            order = torch.randperm(len(latents))
        pick, order = order[:batch], order[batch:]
        moments = latents[pick].float()
        x = moments[:, 0] + moments[:, 1] * torch.randn_like(moments[:, 0])
        prompt = ids[pick, torch.multinomial(kinds, batch, replacement=True)]
        prompt = torch.where(torch.rand(batch, 1) < 0.1, empty, prompt)
        t = ((torch.arange(batch) + torch.rand(batch)) * 1000 / batch).long().clamp(max=999)  # stratified
        noise = torch.randn_like(x)
        with torch.autocast("cpu", torch.bfloat16, enabled=BF16):
            context = text(prompt).last_hidden_state
            predicted = model(noises.add_noise(x, noise, t), t, context).sample
        loss = F.mse_loss(predicted.float(), noises.get_velocity(x, noise, t))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        share_gradients(parameters)
        torch.nn.utils.clip_grad_norm_(parameters, 1)
        optimizer.step()
        average.update()
        losses.append(loss.item())
        step += 1
        if step % 50 == 0 and rank() == 0:
            print(f"unet {step} {spent + time.time() - start:.0f}s loss {np.mean(losses[-200:]):.4f}", flush=True)
        if rank() == 0 and time.time() - saved > 240:
            saved = time.time()
            torch.save({"unet": model.state_dict(), "text": text.state_dict(), "optimizer": optimizer.state_dict(),
                        "mean": average.mean, "n": average.n, "step": step, "spent": spent + saved - start}, state_file)
            average.swap(); finish_unet(model, text, base); average.swap()
    average.swap()
    if rank() == 0:
        finish_unet(model, text, base)


def finish_unet(model, text, base):
    """Writes the UNet, the text encoder, the scheduler and model_index.json."""
    keep = {k: v.clone() for k, v in [*model.state_dict().items(), *(("text." + k, v) for k, v in text.state_dict().items())]}
    save_half(model, base / "unet")
    save_half(text, base / "text_encoder")
    with torch.no_grad():
        for k, v in [*model.state_dict().items(), *(("text." + k, v) for k, v in text.state_dict().items())]:
            v.copy_(keep[k])
    make_scheduler().save_pretrained(base / "scheduler")
    (base / "model_index.json").write_text(json.dumps({
        "_class_name": "StableDiffusionPipeline", "_diffusers_version": "0.31.0",
        "feature_extractor": [None, None], "image_encoder": [None, None], "requires_safety_checker": False,
        "safety_checker": [None, None], "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"], "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"]}, indent=2) + "\n")


PRODUCTS = "mug bottle bag lamp chair shoe umbrella shirt".split()
COLOURS = "red yellow green teal blue purple pink brown black white".split()
BACKGROUNDS = "orange cream sky mint lilac rose grey lemon sand slate".split()


def sample(base, path, steps=20, guidance=3.0):
    """A row for each product: five prompts with colours, five without."""
    pipe = StableDiffusionPipeline.from_pretrained(base)
    pipe.set_progress_bar_config(disable=True)
    prompts = []
    for i, p in enumerate(PRODUCTS):
        prompts += [f"a photo of a {COLOURS[(i + j) % 10]} {p} on a {BACKGROUNDS[(2 * i + j) % 10]} background" for j in range(5)]
        prompts += [f"a photo of a {p}"] * 5
    out = pipe(prompts, num_inference_steps=steps, guidance_scale=guidance, height=64, width=64, output_type="pt",
               generator=torch.Generator().manual_seed(0)).images
    sheet(out * 2 - 1, path, 10)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["tokenizer", "vae", "unet", "decoder", "sample"])
    parser.add_argument("paths", nargs=2, type=Path)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--float32", action="store_true")
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--peak", type=float, default=8e-4)
    parser.add_argument("--resume", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    BF16 = not args.float32
    start_ranks()
    if args.part == "tokenizer":
        data, base = args.paths
        write_tokenizer([text for line in captions(data) for text in line], base / "tokenizer", LENGTH)
    elif args.part == "vae":
        vae(*args.paths, args.minutes, resume=args.resume)
    elif args.part == "decoder":
        decoder(*args.paths, args.minutes)
    elif args.part == "unet":
        PEAK = args.peak
        unet(*args.paths, args.minutes, args.batch, args.resume)
    else:
        sample(*args.paths)
