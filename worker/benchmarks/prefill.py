"""Prefill speed and the time to the first token, from an empty cache."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import mlx.core as mx

from worker.generation import Caches, held_out, prefill
from worker.record import Sample

SECONDS = 6.0
DEFAULTS = {"context": 1024, "step": 2048, "trials": 3, "warmups": 1}


def run(
    model: Any,
    tokenizer: Any,
    make_cache: Callable[[], Caches],
    *,
    context: int,
    step: int,
    trials: int,
    warmups: int,
) -> Iterator[Sample]:
    """Time reading ``context`` tokens in chunks of ``step`` until the last logits are there.

    Yields ``prompt_tps`` and ``ttft`` for each trial.
    """
    prompt = held_out(tokenizer, context)
    for trial in range(-warmups, trials):
        cache = make_cache()
        mx.synchronize()
        started = time.perf_counter()
        mx.eval(mx.argmax(prefill(model, prompt, cache, step)))
        seconds = time.perf_counter() - started
        yield Sample(metric="prompt_tps", value=context / seconds, trial=trial, warmup=trial < 0)
        yield Sample(metric="ttft", value=seconds, trial=trial, warmup=trial < 0)
