"""Resident bytes of the cache while decoding, as the allocator sees them and as it claims."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import mlx.core as mx

from worker.generation import (
    Caches,
    claimed_bytes,
    exact_allocations,
    generate,
    held_out,
    prefill,
    resident,
)
from worker.record import Sample

EXACT = True
SECONDS = 9.0
DEFAULTS = {"context": 4096, "step": 2048, "tokens": 8}


def run(
    model: Any,
    tokenizer: Any,
    make_cache: Callable[[], Caches],
    *,
    context: int,
    step: int,
    tokens: int,
) -> Iterator[Sample]:
    """Fill a cache, generate a few tokens, and see how much memory is held more than before.

    Yields ``kv_bytes``, ``kv_bytes_claimed`` and ``peak_memory`` (model included) once.
    """
    prompt = held_out(tokenizer, context)
    with exact_allocations():
        before = resident()
        mx.reset_peak_memory()
        cache = make_cache()
        prefill(model, prompt[:-1], cache, step)
        for _ in generate(model, prompt[-1], tokens, cache):
            pass
        held = resident() - before
    yield Sample(metric="kv_bytes", value=held)
    if (claimed := claimed_bytes(cache)) is not None:
        yield Sample(metric="kv_bytes_claimed", value=claimed)
    yield Sample(metric="peak_memory", value=mx.get_peak_memory())
