"""Print what a prompt costs on this CPU with each cache, to mlx-lm's KVCache in the same round.

    python -m worker.turbo.bench.cpu_prompt [--tokens 2048] [--chunk 512] [--trials 3]

The reference model reads a prompt in chunks, so that all but the first meet packed tokens; the
caches take turns within each round, each round begins with another, and a ratio is the median over
rounds (above 1: faster). The whole passes come first, then attention and storing alone, of one key
head of Qwen2.5-7B's shape, where no weights hide them.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import mlx.core as mx
from mlx_lm import load
from mlx_lm.models.base import scaled_dot_product_attention
from mlx_lm.models.cache import KVCache, make_prompt_cache

from worker.turbo import TurboKVCache, make_cache

MODEL = Path(__file__).parents[2] / "models" / "reference"
BITS = {"K16V4": (0, 4), "K8V4": (8, 4), "K4V4": (4, 4), "K3V2": (3, 2)}
HEADS, QUERY_HEADS, DIM = 1, 7, 128

Reading = Callable[[list[Any], int, int], None]


def single(value_bits: int, key_bits: int) -> list[Any]:
    return [TurboKVCache(value_bits, key_bits)]


def whole(model: Any) -> Reading:
    """Return what reads a prompt with the model."""
    ids = mx.random.randint(0, 500, (1, 1 << 16), key=mx.random.key(0))

    def read(cache: list[Any], tokens: int, chunk: int) -> None:
        for start in range(0, tokens, chunk):
            mx.eval(model(ids[:, start : start + chunk], cache=cache))
            mx.eval([layer.state for layer in cache])

    return read


def one_layer(cache: list[Any], tokens: int, chunk: int) -> None:
    """Store and attend, chunk by chunk."""
    for start in range(0, tokens, chunk):
        size = min(chunk, tokens - start)
        keys, values = (mx.random.normal((1, HEADS, size, DIM)).astype(mx.float16) for _ in "kv")
        queries = mx.random.normal((1, QUERY_HEADS, size, DIM)).astype(mx.float16)
        mask = cache[0].make_mask(size, return_array=False, window_size=None)
        seen = cache[0].update_and_fetch(keys, values)
        scale = DIM**-0.5
        mx.eval(
            scaled_dot_product_attention(queries, *seen, cache=cache[0], scale=scale, mask=mask)
        )
        mx.eval(cache[0].state)


def ratios(
    read: Reading, caches: dict[str, Callable[[], list[Any]]], given: argparse.Namespace
) -> dict[str, float]:
    """Return the median over rounds of fp16's time over each cache's."""
    found: dict[str, list[float]] = {name: [] for name in caches}
    names = list(caches)
    for turn in range(given.trials + 1):
        seconds = {}
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            cache = caches[name]()
            start = time.perf_counter()
            read(cache, given.tokens, given.chunk)
            seconds[name] = time.perf_counter() - start
        if turn:  # the first is a warm-up
            for name in names:
                found[name].append(seconds["fp16"] / seconds[name])
    return {name: statistics.median(each) for name, each in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--chunk", type=int, default=512)
    parser.add_argument("--trials", type=int, default=3)
    given = parser.parse_args()
    mx.set_default_device(mx.cpu)
    model, *_ = load(str(MODEL))
    models: dict[str, Callable[[], list[Any]]] = {"fp16": lambda: make_prompt_cache(model)}
    layers: dict[str, Callable[[], list[Any]]] = {"fp16": lambda: [KVCache()]}
    for name, (key_bits, value_bits) in BITS.items():
        models[name] = partial(make_cache, model, key_bits=key_bits, value_bits=value_bits)
        layers[name] = partial(single, value_bits, key_bits)
    print(f"{given.tokens} tokens in chunks of {given.chunk}")
    for title, read, caches in (
        ("reference model", whole(model), models),
        ("one key head of Qwen2.5-7B's shape, attention and storing alone", one_layer, layers),
    ):
        cells = [f"{name} {ratio:.2f}" for name, ratio in ratios(read, caches, given).items()]
        print(f"{title}: {', '.join(cells)}", flush=True)


if __name__ == "__main__":
    main()
