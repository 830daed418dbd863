#!/usr/bin/env python3
"""Writes small parquet files in the layouts that Pick-a-Pic v2 and its copies have.

    python make_parquet.py        (needs pyarrow, pillow, numpy)
"""
import io
import os

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

here = os.path.dirname(os.path.abspath(__file__))


def jpeg(seed, size=(12, 10)):
    rs = np.random.RandomState(seed)
    b = io.BytesIO()
    Image.fromarray(rs.randint(0, 256, (*size, 3), dtype=np.uint8)).save(b, "JPEG", quality=50)
    return b.getvalue()


N = 10
pictures = [[jpeg(2 * i + j) for i in range(N)] for j in range(2)]
labels = [1.0, 0.0, 0.5, 1.0, 0.0, 1.0, 0.5, 0.0, 1.0, 0.0]
captions = [f"prompt {i}, ünïcode" for i in range(N)]


def write(name, columns, **options):
    pq.write_table(pa.table(columns), os.path.join(here, name), **options)


plain = dict(jpg_0=pa.array(pictures[0], pa.binary()), jpg_1=pa.array(pictures[1], pa.binary()),
             label_0=labels, label_1=[1 - v for v in labels], caption=captions)
# Pick-a-Pic's own layout: float labels, further columns, several row groups.
write("plain.parquet", dict(are_different=[True] * N, best_image_uid=["x"] * N, **plain, has_label=[True] * N, ranking_id=list(range(N))),
      row_group_size=4, compression="snappy")
# As the datasets library writes pictures, with integer labels, no label_1 and another compression.
struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
hf = lambda p: pa.array([dict(bytes=b, path=None) for b in p], struct)
keep = [i for i in range(N) if labels[i] != 0.5]
pick = lambda v: [v[i] for i in keep]
write("hf.parquet", dict(jpg_0=hf(pick(pictures[0])), jpg_1=hf(pick(pictures[1])), label_0=pa.array([int(v) for v in pick(labels)], pa.int8()),
                         caption=pick(captions)), compression="zstd", data_page_version="2.0")
# Bad rows, each with the reason it must be set aside for.
bad = dict(plain)
bad["label_0"] = pa.array([1.0, float("nan"), None, 0.7, 1.0, 1.0, 1.0, 0.0, 1.0, 0.0])
bad["label_1"] = pa.array([0.0, 0.0, 0.0, 0.3, 1.0, 0.0, 0.0, 1.0, None, 1.0])
bad["caption"] = pa.array(captions[:5] + [None] + captions[6:])
bad["jpg_1"] = pa.array(pictures[1][:6] + [None] + pictures[1][7:], pa.binary())
bad["has_label"] = pa.array([True] * 9 + [False])
write("bad.parquet", bad, row_group_size=3)
# Dictionary-encoded, large and fixed variants of the types.
write("types.parquet", dict(jpg_0=pa.array(pictures[0], pa.large_binary()), jpg_1=pa.array(pictures[1], pa.large_binary()),
                            label_0=pa.array(labels, pa.float32()), label_1=pa.array([1 - v for v in labels], pa.float32()),
                            caption=pa.array(captions).dictionary_encode()), compression="gzip", use_dictionary=True)
write("no_jpg_1.parquet", {k: v for k, v in plain.items() if k != "jpg_1"})
write("no_bytes.parquet", dict(plain, jpg_0=pa.array([dict(path="x")] * N)))
write("text_label.parquet", dict(plain, label_0=["1"] * N))
write("list_caption.parquet", dict(plain, caption=[["a", "b"]] * N))
write("empty.parquet", {k: v[:0] for k, v in plain.items()})

import hashlib, json
with open(os.path.join(here, "expected.json"), "w") as f:
    json.dump(dict(pyarrow=pa.__version__, labels=labels, captions=captions,
                   sha256=[[hashlib.sha256(b).hexdigest() for b in p] for p in pictures]), f, indent=1)
