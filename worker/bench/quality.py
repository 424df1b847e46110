"""Print how far caches bend the answers of real weights and of the reference model from fp16 KV.

    python -m worker.bench.quality [--model smollm2|reference|GGUF] [--text tune|untouched|FILE]
        [--contexts 1024 4096] [--positions 1024] [CACHE ...]

CACHE is a kind of `worker/caches` with parameters, e.g. ``turbo,key_bits=4,first_tokens=8``; short
names such as ``k4v4``, ``affine8``, ``rotated4``, ``mlx-vlm4``, ``tq-full4`` take parameters too.
The prompt is read in chunks of 512, then the true text by 8 tokens, each through the cache. One row
a cache: mean KL divergence (nats), its 99th percentile, share of equal likeliest tokens, perplexity.
Texts: ``tune`` may be used to choose settings, ``untouched`` never.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import mlx.core as mx
import mlx_lm
from mlx_lm.models.cache import KVCache, make_prompt_cache

from worker import corpus
from worker.caches import fp16, quantized, rotated_affine
from worker.generation import Caches, read
from worker.models import REFERENCE
from worker.models.from_gguf import load_gguf

CHUNK, STEP = 512, 8
TEXTS = {
    "smollm2": {"tune": "/usr/share/common-licenses/GPL-3", "untouched": "worker/text/english.txt"},
    "reference": {"tune": "seed 5", "untouched": "seed 0"},
}
SHORT = {
    "k8v4": "turbo,key_bits=8,value_bits=4",
    "k6v4": "turbo,key_bits=6,value_bits=4",
    "k4v4": "turbo,key_bits=4,value_bits=4",
    "k3v3": "turbo,key_bits=3,value_bits=3",
    "k3v2": "turbo,key_bits=3,value_bits=2",
    "affine8": "quantized,bits=8",
    "affine4": "quantized,bits=4",
    "rotated4": "rotated_affine,bits=4",
    "mlx-vlm4": "mlx_vlm,bits=4,raw_last_layers=0",
    "tq-full4": "tq_full,key_bits=4,value_bits=4",
    "tq-full8-3": "tq_full,key_bits=8,value_bits=3",
}
USUAL = ("k8v4", "k6v4", "k4v4", "k3v3", "k3v2", "affine8", "affine4", "rotated4")
