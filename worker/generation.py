"""Read and generate tokens through a prompt cache, as mlx-lm does."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from itertools import pairwise
from typing import Any, Protocol, runtime_checkable

import mlx.core as mx
from mlx_lm.generate import generate_step, generation_stream

from worker.refusal import RefusalError
from worker.text import corpus, passages

#: mlx-lm's own size of a prefill chunk.
PREFILL_STEP = 2048

Caches = list[Any]


@runtime_checkable
class BecomesAnother(Protocol):
    """A layer's cache that another takes the place of, once the first chunk is read into it."""

    def become(self) -> Any: ...


def held_out(tokenizer: Any, count: int, text: str = passages.CORPUS) -> list[int]:
    """Return ``count`` token ids of held-out text, the same each time.

    ``text`` is as `passages` has it. Raises RefusalError for a file with fewer tokens.
    """
    if text != passages.CORPUS:
        return _beginning(tokenizer, count, text)
    sentences = count // 4 + 1
    while len(tokens := tokenizer.encode(corpus.text(0, sentences))) < count:
        sentences *= 2
    return list(tokens[:count])


def _beginning(tokenizer: Any, count: int, text: str) -> list[int]:
    tokens = list(tokenizer.encode(passages.read(text))[:count])
    if len(tokens) < count:
        raise RefusalError(
            f"text {text!r}: {len(tokens)} tokens of this model, and {count} are read; take a "
            "longer text, or a shorter context"
        )
    return tokens


def read(model: Any, tokens: list[int], cache: Caches) -> mx.array:
    """Read tokens in one step; return the logits (tokens, vocab), with the cache evaluated.

    As mlx-lm does, a cache that quantizes its prompt does so after the step that read it.
    """
    logits: mx.array = model(mx.array(tokens)[None], cache=cache)[0]
    mx.eval([layer.state for layer in cache])
    for index, layer in enumerate(cache):
        if isinstance(layer, BecomesAnother):
            cache[index] = layer.become()
    return logits


def prefill(model: Any, tokens: list[int], cache: Caches, step: int = PREFILL_STEP) -> mx.array:
    """Read ``tokens`` into ``cache`` chunk by chunk; return the last position's logits (vocab,)."""
    logits = mx.array([])
    for start, end in pairwise([*range(0, len(tokens), step), len(tokens)]):
        logits = read(model, tokens[start:end], cache)[-1]
        mx.clear_cache()
    mx.eval(logits)
    return logits


def generate(model: Any, first: int, count: int, cache: Caches) -> Iterator[tuple[int, float]]:
    """Yield ``count`` greedy tokens after ``first``, each with the time it was there.

    By mlx-lm's ``generate_step``: the next step is under way while a token is read.
    """
    steps = generate_step(mx.array([first]), model, max_tokens=count, prompt_cache=cache)
    for token, _ in steps:
        yield int(token), time.perf_counter()


def claimed_bytes(cache: Caches) -> int | None:
    """Return the bytes that a cache says it holds; None where a layer says nothing.

    mlx-lm generates with caches that do not.
    """
    try:
        return sum(int(layer.nbytes) for layer in cache)
    except (AttributeError, NotImplementedError):
        return None


def rewind(cache: Caches, length: int) -> Callable[[], Caches]:
    """Return a function that gives ``cache`` back as it is now, holding ``length`` tokens.

    Trims where all layers can; a cache that cannot is copied for each use.
    """
    if all(hasattr(layer, "is_trimmable") and layer.is_trimmable() for layer in cache):
        return lambda: _trim(cache, length)
    return lambda: deepcopy(cache)


def _trim(cache: Caches, length: int) -> Caches:
    for layer in cache:
        layer.trim(layer.offset - length)
    return cache


def log_probabilities(logits: mx.array) -> mx.array:
    """Return the logarithms of the probabilities that logits (..., vocabulary) stand for."""
    logits = logits.astype(mx.float32)
    return logits - mx.logsumexp(logits, axis=-1, keepdims=True)


def resident() -> int:
    """Return the bytes of all arrays that are held now, by the allocator.

    mlx-lm computes a token ahead on a stream of its own; its arrays are no longer needed.
    """
    gc.collect()
    mx.synchronize()
    mx.synchronize(generation_stream)
    mx.clear_cache()
    return int(mx.get_active_memory())


@contextmanager
def exact_allocations() -> Iterator[None]:
    """Let each array hold the bytes that it asked for; slower, so nothing is timed meanwhile.

    Else the allocator gives freed buffers again that are up to two pages larger, and which are free
    depends on how the threads of its streams were scheduled.
    """
    limit = mx.set_cache_limit(0)
    try:
        yield
    finally:
        mx.set_cache_limit(limit)
