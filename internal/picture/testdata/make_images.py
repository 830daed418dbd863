#!/usr/bin/env python3
"""Writes small pictures in many formats, and what PIL's convert("RGB") makes of each.

    python make_images.py        (needs pillow, numpy, safetensors)
"""
import os

import numpy as np
from PIL import Image, __version__
from safetensors.numpy import save_file

here = os.path.dirname(os.path.abspath(__file__))
out = os.path.join(here, "images")
os.makedirs(out, exist_ok=True)
expected = {}


def picture(w, h, channels=3, seed=0):
    rs = np.random.RandomState(seed)
    yy, xx = np.mgrid[0:h, 0:w]
    a = np.stack([127 + 110 * np.sin(xx / (5 + k) + k) * np.cos(yy / (6 + k)) for k in range(channels)], -1)
    return (a + rs.uniform(-15, 15, a.shape)).clip(0, 255).astype(np.uint8)


def keep(name):
    expected[name] = np.asarray(Image.open(os.path.join(out, name)).convert("RGB")).copy()


def save(name, im, **options):
    im.save(os.path.join(out, name), **options)
    keep(name)


rgb = Image.fromarray(picture(37, 29))
rgba = Image.fromarray(picture(37, 29, 4, seed=1), "RGBA")
gray = rgb.convert("L")
save("rgb.png", rgb)
save("rgba.png", rgba)
save("gray.png", gray)
save("gray_alpha.png", rgba.convert("LA"))
save("bilevel.png", rgb.convert("1"))
save("palette.png", rgb.quantize(200))
save("palette16.png", rgb.quantize(16))
p = rgb.quantize(32)
save("palette_transparent.png", p, transparency=bytes(range(0, 256, 8)))
save("rgb_transparent.png", rgb, transparency=tuple(int(v) for v in picture(37, 29)[0, 0]))
save("rgb.webp", rgb, lossless=True)
save("rgba.webp", rgba, lossless=True)
save("lossy.webp", rgb, quality=80)
save("lossy_even.webp", Image.fromarray(picture(40, 30, seed=2)), quality=60)
save("lossy_alpha.webp", rgba, quality=80)
save("lossy_narrow.webp", Image.fromarray(picture(1, 9, seed=3)), quality=80)
for name, sub in (("444", 0), ("422", 1), ("420", 2)):
    save(f"q90_{name}.jpg", rgb, quality=90, subsampling=sub)
save("q75_even.jpg", Image.fromarray(picture(64, 48, seed=4)), quality=75)
save("progressive.jpg", rgb, quality=90, progressive=True)
save("narrow.jpg", Image.fromarray(picture(4, 40, seed=5)), quality=90)
save("narrow_odd.jpg", Image.fromarray(picture(5, 7, seed=6)), quality=90)
save("gray.jpg", gray, quality=90)
save("cmyk.jpg", rgb.convert("CMYK"), quality=90)
exif = Image.Exif()
exif[0x0112] = 6
save("exif_rotated.jpg", rgb, quality=90, exif=exif)

# 16-bit PNGs: PIL cannot write RGB ones, so the chunks are written here.
import struct, zlib


def png16(name, samples, colour_type):
    h, w = samples.shape[:2]
    raw = b"".join(b"\0" + samples[y].astype(">u2").tobytes() for y in range(h))
    chunk = lambda k, d: struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d))
    with open(os.path.join(out, name), "wb") as f:
        f.write(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", w, h, 16, colour_type, 0, 0, 0))
                + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b""))


wide = np.random.RandomState(7).randint(0, 65536, (9, 11, 4))
png16("rgb16.png", wide[..., :3], 2)
keep("rgb16.png")
png16("rgba16.png", wide, 6)
keep("rgba16.png")
png16("gray16.png", wide[..., :1], 0)
expected["gray16.png"] = np.repeat((wide[..., :1] >> 8).astype(np.uint8), 3, -1)  # PIL clips at 255 instead.

save("animated.webp", rgb, save_all=True, append_images=[rgb.transpose(0)], duration=100)
save("animated.png", rgb, save_all=True, append_images=[rgb.transpose(0)], duration=100)
save("picture.gif", rgb)
for name in ("animated.webp", "animated.png", "picture.gif"):
    del expected[name]

# PIL's bicubic resize in uint8, to sizes above, below and in one direction only.
source = Image.fromarray(picture(61, 50, seed=8))
for w, h in ((61, 50), (40, 72), (61, 20), (30, 50), (1, 1), (122, 7), (200, 200)):
    expected[f"resize.{w}x{h}"] = np.asarray(source.resize((w, h))).copy()
source.save(os.path.join(out, "resize.png"))

save_file(expected, os.path.join(here, "images.safetensors"), metadata={"pillow": __version__, "numpy": np.__version__})
