"""Print Python's own time for a layer and a decoded token: graphs are built and not evaluated.

    python -m worker.turbo.bench.python_overhead

Store one token, attend to all; 28 query heads, 4 key heads of 128, fp16. The kernel is replaced
by a function that returns at once, so this runs without a GPU, and the time of a custom kernel's
call (about 5 microseconds on the host of `gpu_decode.md`) comes on top. The least of
many rounds, for it is the one that other processes disturbed least.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import mlx.core as mx
from mlx_lm.models.base import scaled_dot_product_attention
from mlx_lm.models.cache import KVCache

from worker.turbo import TurboKVCache, attention, fused, kernel_launch

HEADS, QUERY_HEADS, DIM, CONTEXT, TOKENS, ROUNDS = 4, 28, 128, 1000, 40, 100
CACHES: dict[str, Callable[[], Any]] = {
    "fp16": KVCache,
    "K4V4": lambda: TurboKVCache(4),
    "K16V4": lambda: TurboKVCache(4, 0),
}


def some(heads: int, tokens: int) -> mx.array:
    made: mx.array = mx.random.normal((1, heads, tokens, DIM)).astype(mx.float16)
    mx.eval(made)
    return made


def without_kernels() -> None:
    """Let the fused path run here, with launches that do nothing."""
    out = some(QUERY_HEADS, 1)
    vars(fused).update(_kernels=lambda *_: (lambda **_: (out, None), None))
    vars(kernel_launch).update(prelude=lambda: "cuda", threadgroups=lambda *_: 132)
    vars(attention).update(enabled=lambda: fused.runs_here() or True)


def built(make: Callable[[], Any]) -> float:
    """Return the microseconds of a token."""
    cache, queries, new = make(), some(QUERY_HEADS, 1), some(HEADS, 1)
    cache.update_and_fetch(some(HEADS, CONTEXT), some(HEADS, CONTEXT))
    best = float("inf")
    for _ in range(ROUNDS):
        mx.eval(cache.state)
        start = time.perf_counter()
        for _ in range(TOKENS):
            seen = cache.update_and_fetch(new, new)
            scaled_dot_product_attention(queries, *seen, cache=cache, scale=0.09, mask=None)
        best = min(best, time.perf_counter() - start)
        cache.trim(TOKENS)
    return best / TOKENS * 1e6


def main() -> None:
    mx.set_default_device(mx.cpu)
    without_kernels()
    for _ in range(2):
        print("  ".join(f"{name} {built(make):.2f} us" for name, make in CACHES.items()))


if __name__ == "__main__":
    main()
