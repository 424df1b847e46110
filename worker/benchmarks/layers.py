"""How far each layer's compression alone bends the model's answers: which layers are heavy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import mlx.core as mx
from mlx_lm.models.cache import CacheList, KVCache

from worker.caches import fp16
from worker.generation import (
    BecomesAnother,
    Caches,
    held_out,
    log_probabilities,
    prefill,
    read,
    rewind,
)
from worker.record import Sample
from worker.refusal import RefusalError

EXACT = True
DEFAULTS = {"context": 1024, "positions": 64, "text": "corpus"}


def run(
    model: Any,
    tokenizer: Any,
    make_cache: Callable[[], Caches],
    *,
    context: int,
    positions: int,
    text: str,
) -> Iterator[Sample]:
    """Read ``context`` tokens with fp16 KV, then ``positions`` more with one layer compressed.

    Yields ``layer_kl`` (mean over positions, nats) for each layer with a plain KV cache, in turn.
    Raises RefusalError where layers keep lists of caches.
    """
    tokens = held_out(tokenizer, context + positions, text)
    exact, ours = fp16.make_cache(model), make_cache()
    if any(isinstance(layer, CacheList) for layer in exact):
        raise RefusalError("layers: this model's layers keep lists of caches; leave it out")
    prefill(model, tokens[:context], exact)
    back = rewind(exact, context)
    truth = log_probabilities(read(model, tokens[context:], back()))
    plain = [index for index, layer in enumerate(exact) if type(layer) is KVCache]
    for number, index in enumerate(plain):
        mixed = list(back())
        mixed[index] = _filled(ours[index], mixed[index])
        found = log_probabilities(read(model, tokens[context:], mixed))
        kl = mx.mean(mx.sum(mx.exp(truth) * (truth - found), axis=-1))
        yield Sample(metric="layer_kl", value=float(kl), trial=number, labels={"layer": number})


def _filled(layer: Any, exact: KVCache) -> Any:
    """Return a layer's empty cache with all that its exact one holds, read as one chunk."""
    layer.update_and_fetch(*exact.keys_and_values())
    mx.eval(layer.state)
    return layer.become() if isinstance(layer, BecomesAnother) else layer
