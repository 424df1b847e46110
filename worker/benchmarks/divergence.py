"""How far a cache bends the model's answers from those with fp16 KV, teacher-forced."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise, takewhile
from typing import Any

import mlx.core as mx

from worker.caches import fp16
from worker.generation import Caches, generate, held_out, log_probabilities, prefill, read
from worker.record import Sample

EXACT = True
SECONDS = 12.0
DEFAULTS = {"context": 1024, "positions": 128, "step": 1, "greedy": 64, "text": "corpus"}


def run(
    model: Any,
    tokenizer: Any,
    make_cache: Callable[[], Caches],
    *,
    context: int,
    positions: int,
    step: int,
    greedy: int,
    text: str,
) -> Iterator[Sample]:
    """Read ``context`` tokens into both caches, then compare logits over ``positions`` more.

    The true text goes in ``step`` tokens at a time, through each cache; ``text`` is ``corpus``,
    ``english`` (which comes with us), ``pydoc`` (Python's) or a file of the host. Yields
    ``kl_divergence`` (mean, nats), ``kl`` for each step, ``top1_agreement``, ``logit_cosine``, and
    ``greedy_prefix``: how many of ``greedy`` freely generated tokens agree before the first that
    differs, where any are asked for.
    """
    tokens = held_out(tokenizer, context + positions, text)
    ours, exact = make_cache(), fp16.make_cache(model)
    for cache in (ours, exact):
        prefill(model, tokens[:context], cache)
    chunks = pairwise([*range(context, context + positions, step), context + positions])
    yield from diverging(
        (read(model, tokens[start:end], exact), read(model, tokens[start:end], ours))
        for start, end in chunks
    )
    if greedy:
        yield Sample(metric="greedy_prefix", value=_agree(model, tokens[-1], greedy, ours, exact))


def diverging(steps: Iterable[tuple[mx.array, mx.array]]) -> Iterator[Sample]:
    """Yield what steps of (exact logits, a cache's), each (L, vocab), show: ``kl`` of each step.

    At last ``kl_divergence`` (mean over all positions, nats), ``top1_agreement``, ``logit_cosine``.
    """
    totals, positions = [0.0, 0.0, 0.0], 0
    for trial, (exact, ours) in enumerate(steps):
        sums = _compare(exact, ours)
        totals = [total + part for total, part in zip(totals, sums, strict=True)]
        positions += len(ours)
        yield Sample(metric="kl", value=sums[0] / len(ours), trial=trial)
    kl, top1, cosine = (total / positions for total in totals)
    yield Sample(metric="kl_divergence", value=kl)
    yield Sample(metric="top1_agreement", value=top1)
    yield Sample(metric="logit_cosine", value=cosine)


def _compare(exact: mx.array, ours: mx.array) -> list[float]:
    """Return the sums over positions of (KL divergence, same top token, cosine) for (L, vocab)."""
    exact, ours = exact.astype(mx.float32), ours.astype(mx.float32)
    log_p, log_q = log_probabilities(exact), log_probabilities(ours)
    kl = mx.sum(mx.exp(log_p) * (log_p - log_q))
    top1 = mx.sum(mx.argmax(exact, axis=-1) == mx.argmax(ours, axis=-1))
    norms = mx.linalg.norm(exact, axis=-1) * mx.linalg.norm(ours, axis=-1)
    cosine = mx.sum(mx.sum(exact * ours, axis=-1) / norms)
    return [float(total) for total in (kl, top1, cosine)]


def _agree(model: Any, first: int, count: int, ours: Caches, exact: Caches) -> int:
    pairs = zip(
        generate(model, first, count, ours), generate(model, first, count, exact), strict=True
    )
    return sum(1 for _ in takewhile(lambda pair: pair[0][0] == pair[1][0], pairs))
