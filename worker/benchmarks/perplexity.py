"""Perplexity of held-out text, read chunk by chunk through the cache."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import pairwise
from statistics import mean
from typing import Any

import mlx.core as mx

from worker.generation import Caches, held_out, read
from worker.record import Sample

EXACT = True
DEFAULTS = {"context": 1024, "step": 64, "text": "corpus"}


def run(
    model: Any,
    tokenizer: Any,
    make_cache: Callable[[], Caches],
    *,
    context: int,
    step: int,
    text: str,
) -> Iterator[Sample]:
    """Read ``context`` tokens in chunks of ``step``, each seeing what came before by the cache.

    ``text`` is ``corpus``, ``english`` (which comes with us) or a file of the host. Yields
    ``perplexity`` once and ``nll`` (nats a token) for each chunk.
    """
    tokens = held_out(tokenizer, context + 1, text)
    cache = make_cache()
    chunks = []
    for start, end in pairwise([*range(0, context, step), context]):
        logits = read(model, tokens[start:end], cache)
        targets = mx.array(tokens[start + 1 : end + 1])
        chunks.append(_nll(logits, targets))
        yield Sample(metric="nll", value=chunks[-1], trial=len(chunks) - 1)
    yield Sample(metric="perplexity", value=math.exp(mean(chunks)))


def _nll(logits: mx.array, targets: mx.array) -> float:
    logits = logits.astype(mx.float32)
    picked = mx.take_along_axis(logits, targets[:, None], axis=-1)[:, 0]
    return float(mx.mean(mx.logsumexp(logits, axis=-1) - picked))
