"""PyTorch's side of the benchmarks: reads requests, writes replies, a line of JSON each (see protocol.go).

It times one call after the other, and with several variants (memory layouts, implementations) each in turn. It needs
torch and, for training steps, diffusers. The number of threads is the environment's YOHAKU_BENCH_THREADS.
"""
import contextlib
import json
import os
import resource
import sys
import time

import torch
import torch.nn.functional as F

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
LAYOUTS = {"nchw": torch.contiguous_format, "nhwc": torch.channels_last}
MAX_CALLS = 10_000


def gemm(s, dtype, _):
    a = torch.rand((s["k"], s["m"]) if s["trans_a"] else (s["m"], s["k"]), dtype=dtype)
    b = torch.rand((s["n"], s["k"]) if s["trans_b"] else (s["k"], s["n"]), dtype=dtype)
    a, b = a.t() if s["trans_a"] else a, b.t() if s["trans_b"] else b
    c = torch.empty(s["m"], s["n"], dtype=dtype)
    return {"": lambda: torch.mm(a, b, out=c)}


def pictures(s, channels, dtype, layout):
    return torch.randn(s["batch"], channels, s["side"], s["side"], dtype=dtype).to(memory_format=layout)


def conv(mask):
    """A pass of a 3x3 convolution in both layouts; mask None is forward, otherwise which gradients are asked for."""

    def make(s, dtype, _):
        variants = {}
        for name, layout in LAYOUTS.items():
            x, dy = pictures(s, s["in"], dtype, layout), pictures(s, s["out"], dtype, layout)
            w = torch.randn(s["out"], s["in"], 3, 3, dtype=dtype).to(memory_format=layout)
            b = torch.randn(s["out"], dtype=dtype)
            if mask is None:
                variants[name] = lambda x=x, w=w, b=b: F.conv2d(x, w, b, padding=1)
            else:
                variants[name] = lambda x=x, w=w, dy=dy: torch.ops.aten.convolution_backward(
                    dy, x, w, None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1, mask)
        return variants

    return make


def forward_or_backward(backward, f, inputs, result_like):
    """f without a graph, or the gradients of all inputs through a graph that is kept."""
    if not backward:
        return lambda: f(*inputs)
    with torch.enable_grad():
        inputs = [x.requires_grad_() for x in inputs]
        y = f(*inputs)
    dy = torch.randn_like(result_like(inputs))
    return lambda: torch.autograd.grad(y, inputs, dy, retain_graph=True)


def attention(backward):
    """Heads in a dimension of their own, or as views of tokens x width, as diffusers has them."""

    def make(s, dtype, _):
        def tensor(tokens, views):
            if views:
                x = torch.randn(s["batch"], tokens, s["heads"] * s["dim"], dtype=dtype)
                return x.view(s["batch"], tokens, s["heads"], s["dim"]).transpose(1, 2)
            return torch.randn(s["batch"], s["heads"], tokens, s["dim"], dtype=dtype)

        return {
            name: forward_or_backward(
                backward, F.scaled_dot_product_attention,
                [tensor(s["queries"], views), tensor(s["keys"], views), tensor(s["keys"], views)], lambda x: x[0])
            for name, views in (("heads", False), ("tokens", True))
        }

    return make


def norm(backward):
    def make(s, dtype, _):
        def f(x, w, b):
            return F.silu(F.group_norm(x, s["groups"], w, b, 1e-5))

        c = s["channels"]
        return {
            name: forward_or_backward(
                backward, f, [pictures(s, c, dtype, layout), torch.randn(c, dtype=dtype), torch.randn(c, dtype=dtype)], lambda x: x[0])
            for name, layout in LAYOUTS.items()
        }

    return make


def adamw(s, dtype, _):
    variants = {}
    for name in ("fused", "foreach"):
        p = torch.randn(s["elements"], dtype=dtype).requires_grad_()
        p.grad = torch.randn(s["elements"], dtype=dtype)
        variants[name] = torch.optim.AdamW([p], lr=1e-5, weight_decay=1e-2, **{name: True}).step
    return variants


def silu(s, dtype, _):
    x = torch.randn(s["elements"], dtype=dtype)
    return {"": lambda: F.silu(x)}


def step(s, dtype, config):
    """The MaPO step of mapo-t2i/mapo: one noise and one timestep a pair, clip to 1, AdamW on float32 weights."""
    from diffusers import DDPMScheduler, UNet2DConditionModel

    net = UNet2DConditionModel(**config).train()
    params = list(net.parameters())
    optimizer = torch.optim.AdamW(params, lr=1e-5, betas=(0.9, 0.999), weight_decay=1e-2, eps=1e-8)
    schedule = DDPMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", num_train_timesteps=1000)
    n = s["pairs"]
    latents = torch.randn(2 * n, 4, s["latent"], s["latent"], dtype=dtype)  # Winners, then losers.
    context = torch.randn(n, s["tokens"], s["cross"], dtype=dtype).repeat(2, 1, 1)
    mixed = torch.autocast("cpu", dtype=dtype) if dtype != torch.float32 else contextlib.nullcontext()

    def link(x):
        return 0.5 * x / torch.expm1(0.5 * x)

    def once():
        noise = torch.randn_like(latents[:n]).repeat(2, 1, 1, 1)
        timesteps = torch.randint(0, 1000, (n,)).repeat(2)
        with torch.enable_grad():
            with mixed:
                predicted = net(schedule.add_noise(latents, noise, timesteps), timesteps, context).sample
            errors = F.mse_loss(predicted.float(), noise.float(), reduction="none").mean(dim=(1, 2, 3))
            winner, loser = errors.chunk(2)
            loss = winner.mean() - (0.1 * F.logsigmoid(1000 * (link(winner) - link(loser)))).mean()
            loss.backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()
        optimizer.zero_grad()

    return {"": once}


KINDS = {
    "gemm": gemm,
    "conv-forward": conv(None), "conv-data": conv([True, False, False]), "conv-weight": conv([False, True, False]),
    "attention-forward": attention(False), "attention-backward": attention(True),
    "norm-forward": norm(False), "norm-backward": norm(True),
    "adamw": adamw, "silu": silu, "step": step,
}


def once_ms(f):
    start = time.perf_counter()
    f()
    return (time.perf_counter() - start) * 1e3


def timed(f, warm_ms, timed_ms):
    start = time.perf_counter()
    while (time.perf_counter() - start) * 1e3 < warm_ms:
        f()
    calls = [once_ms(f)]
    while sum(calls) < timed_ms and len(calls) < MAX_CALLS:
        calls.append(once_ms(f))
    return calls


def about():
    try:
        import diffusers
        return f"PyTorch {torch.__version__}, diffusers {diffusers.__version__}, {torch.get_num_threads()} threads"
    except ImportError:
        return f"PyTorch {torch.__version__}, no diffusers, {torch.get_num_threads()} threads"


class Server:
    """Keeps the operands of one work at a time."""

    def __init__(self):
        self.at, self.variants = None, {}

    def answer(self, r):
        if r["kind"] == "hello":
            return {"about": about()}
        at = (r["work"], r["dtype"])
        if self.at != at:
            self.at, self.variants = None, {}
            self.variants = KINDS[r["kind"]](r.get("shape"), DTYPES[r["dtype"]], r.get("config"))
            self.at = at
        ms = {name: timed(f, r["warm_ms"], r["timed_ms"]) for name, f in self.variants.items()}
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        return {"ms": ms, "peak_bytes": peak}


def main():
    torch.set_num_threads(int(os.environ.get("YOHAKU_BENCH_THREADS", "2")))
    torch.manual_seed(0)
    replies, sys.stdout = sys.stdout, sys.stderr  # What libraries print must not look like a reply.
    server = Server()
    for line in sys.stdin:
        try:
            with torch.no_grad():
                reply = server.answer(json.loads(line))
        except Exception as e:  # The next work may do.
            reply = {"error": f"{type(e).__name__}: {e}"}
        replies.write(json.dumps(reply) + "\n")
        replies.flush()


main()
