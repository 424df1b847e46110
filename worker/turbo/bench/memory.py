"""Print the memory that each cache holds while decoding at 8K tokens, and its peak before.

    python -m worker.turbo.bench.memory [--dim 128] [--tokens 8192]

The allocator is asked, not the caches. Keys and values of 28 layers with 4 heads (Qwen2.5-7B's at
dimension 128) are read by chunks of 2048 and then 100 single tokens; attention is left out, so the
peak is that of storing alone. Ratios are to mlx-lm's KVCache in the same run.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import mlx.core as mx
from mlx_lm.models.cache import KVCache

from worker.turbo import make_cache

LAYERS, HEADS, CHUNK, DECODED = 28, 4, 2048, 100


class Layers:
    """As much of a model as making caches asks for."""

    layers = (None,) * LAYERS


def append(cache: list[Any], count: int, dim: int) -> None:
    for layer in cache:
        keys, values = (mx.random.normal((1, HEADS, count, dim)).astype(mx.float16) for _ in "kv")
        layer.update_and_fetch(keys, values)
        mx.eval(layer.state)


def measured(cache: list[Any], tokens: int, dim: int) -> tuple[int, int]:
    """Return resident and peak bytes."""
    mx.clear_cache()
    before = mx.get_active_memory()
    mx.reset_peak_memory()
    for start in range(0, tokens, CHUNK):
        append(cache, min(CHUNK, tokens - start), dim)
    peak = mx.get_peak_memory() - before
    for _ in range(DECODED):
        append(cache, 1, dim)
    mx.clear_cache()
    return mx.get_active_memory() - before, peak


def turbo(key_bits: int, value_bits: int) -> Callable[[], list[Any]]:
    return lambda: make_cache(Layers(), key_bits=key_bits, value_bits=value_bits)


CACHES: dict[str, Callable[[], list[Any]]] = {
    "fp16": lambda: [KVCache() for _ in range(LAYERS)],
    "K16V4": turbo(0, 4),
    "K8V4": turbo(8, 4),
    "K4V4": turbo(4, 4),
    "K3V3": turbo(3, 3),
    "K3V2": turbo(3, 2),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--tokens", type=int, default=8192)
    given = parser.parse_args()
    mx.set_cache_limit(0)  # else freed buffers, which may be larger than needed, are given again
    turbo(4, 4)()  # tables and golden vectors are shared by all
    base: tuple[int, int] | None = None
    print("cache   resident MB  ratio   claimed  ratio    peak MB  ratio")
    for name, make in CACHES.items():
        cache = make()
        resident, peak = measured(cache, given.tokens, given.dim)
        claimed = sum(layer.nbytes for layer in cache)
        base = base or (resident, peak)
        print(
            f"{name:7}{resident / 1e6:12.1f}{resident / base[0]:7.3f}"
            f"{claimed / 1e6:10.1f}{claimed / base[0]:7.3f}{peak / 1e6:11.1f}{peak / base[1]:7.3f}"
        )


if __name__ == "__main__":
    main()
