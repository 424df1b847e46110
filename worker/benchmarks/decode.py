"""Decode speed at a given context: every generated token counts, the first one too."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import mlx.core as mx

from worker.generation import Caches, generate, held_out, prefill, rewind
from worker.record import Sample

SECONDS = 5.0
DEFAULTS = {"context": 1024, "tokens": 64, "trials": 5, "warmups": 1}


def run(
    model: Any,
    tokenizer: Any,
    make_cache: Callable[[], Caches],
    *,
    context: int,
    tokens: int,
    trials: int,
    warmups: int,
) -> Iterator[Sample]:
    """Fill a cache once, then time ``tokens`` greedy steps from it, again and again.

    Yields ``generation_tps`` and ``tpot`` for each trial.
    """
    prompt = held_out(tokenizer, context)
    cache = make_cache()
    prefill(model, prompt[:-1], cache)
    filled = rewind(cache, context - 1)
    for trial in range(-warmups, trials):
        cache = filled()
        mx.synchronize()
        started = time.perf_counter()
        ended = [moment for _, moment in generate(model, prompt[-1], tokens, cache)][-1]
        each = (ended - started) / tokens
        yield Sample(metric="generation_tps", value=1 / each, trial=trial, warmup=trial < 0)
        yield Sample(metric="tpot", value=each, trial=trial, warmup=trial < 0)
