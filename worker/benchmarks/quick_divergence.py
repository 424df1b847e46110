"""How far a cache bends the model's answers from those with fp16 KV, which are computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from worker.benchmarks.divergence import diverging
from worker.generation import Caches, held_out
from worker.models import exact
from worker.record import Sample

EXACT = True
SECONDS = 7.0
DEFAULTS = {"context": 1024, "positions": 128, "step": 8, "text": "corpus"}


def run(
    model: Any,
    tokenizer: Any,
    make_cache: Callable[[], Caches],
    *,
    context: int,
    positions: int,
    step: int,
    text: str,
) -> Iterator[Sample | dict[str, str]]:
    """Do what `divergence` does, for many caches one after the other, without free text.

    Eight tokens at a time are read in a third of the time and diverge alike: the newest are raw.
    Says whether fp16's answers were kept; yields ``kl`` for each step, ``kl_divergence`` (mean,
    nats), ``top1_agreement`` and ``logit_cosine``.
    """
    tokens = held_out(tokenizer, context + positions, text)
    truth, kept = exact.answers(model, tokens, context, step)
    yield {"exact_answers": "kept" if kept else "computed"}
    ours = exact.by_steps(model, tokens, context, step, make_cache())
    starts = range(0, positions, step)
    yield from diverging(
        (truth[start : start + step], logits) for start, logits in zip(starts, ours, strict=True)
    )
