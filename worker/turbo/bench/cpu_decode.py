"""Print what one decoded token's attention costs on this CPU with each cache, at 4K tokens.

    python -m worker.turbo.bench.cpu_decode [--tokens 4096] [--trials 15]

One layer of the reference model's shape and one of Qwen2.5-7B's, fp16; the caches take turns within
each round, and the ratio is that of the medians to mlx-lm's KVCache (above 1: faster).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import mlx.core as mx
from mlx_lm.models.base import scaled_dot_product_attention
from mlx_lm.models.cache import KVCache, QuantizedKVCache

from worker.turbo import TurboKVCache

SHAPES = {"reference model": (1, 2, 64), "Qwen2.5-7B": (4, 28, 128)}
CACHES: dict[str, Callable[[], Any]] = {
    "fp16": KVCache,
    "quantized 8": lambda: QuantizedKVCache(64, 8),
    "quantized 4": lambda: QuantizedKVCache(64, 4),
    "K16V4": lambda: TurboKVCache(4, 0),
    "K8V4": lambda: TurboKVCache(4, 8),
    "K4V4": lambda: TurboKVCache(4, 4),
    "K3V2": lambda: TurboKVCache(2, 3),
}


def normal(heads: int, tokens: int, dim: int) -> mx.array:
    made: mx.array = mx.random.normal((1, heads, tokens, dim)).astype(mx.float16)
    mx.eval(made)
    return made


def decoded(cache: Any, shape: tuple[int, int, int]) -> float:
    """Return the seconds that storing one token and attending to all took."""
    heads, query_heads, dim = shape
    keys, values, queries = (
        normal(heads, 1, dim),
        normal(heads, 1, dim),
        normal(query_heads, 1, dim),
    )
    start = time.perf_counter()
    seen = cache.update_and_fetch(keys, values)
    out = scaled_dot_product_attention(queries, *seen, cache=cache, scale=dim**-0.5, mask=None)
    mx.eval(out)
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--trials", type=int, default=15)
    given = parser.parse_args()
    mx.set_default_device(mx.cpu)
    for name, shape in SHAPES.items():
        made = {kind: make() for kind, make in CACHES.items()}
        for cache in made.values():
            cache.update_and_fetch(*(normal(shape[0], given.tokens, shape[2]) for _ in "kv"))
            mx.eval(cache.state)
        rounds = [
            {kind: decoded(c, shape) for kind, c in made.items()} for _ in range(given.trials + 2)
        ]
        median = {kind: statistics.median(r[kind] for r in rounds[2:]) for kind in made}
        for kind, seconds in median.items():
            ratio = median["fp16"] / seconds
            print(f"{name:17}{kind:13}{seconds * 1e3:9.2f} ms{ratio:8.2f}x")


if __name__ == "__main__":
    main()
