"""MLX's own attention and mlx-lm's own caches, as they are where ours do not take their place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import mlx.core as mx
from mlx_lm.models.cache import CacheList, KVCache, make_prompt_cache

Attention = Callable[..., mx.array]

# What the hook found there, while it stands there itself.
before: dict[str, Attention] = {}


def stock_attention(q: Any, k: Any, v: Any, **options: Any) -> mx.array:
    """Call it, past the hook and past whoever wrapped the hook."""
    found: Attention = before.get("attention", mx.fast.scaled_dot_product_attention)
    return found(q, k, v, **options)


def stock_caches(model: Any) -> list[Any]:
    """Return the caches that mlx-lm would make for a model.

    What was put in the place of a model's own ``make_cache`` is passed over: it may be ours.
    """
    own = getattr(type(model), "make_cache", None)
    if own is not None:
        return list(own(model))
    if "make_cache" in vars(model) and hasattr(model, "layers"):
        return [KVCache() for _ in model.layers]
    return list(make_prompt_cache(model))


def flat(caches: Sequence[Any]) -> Iterator[Any]:
    """Yield the caches of all layers, those of a list one by one."""
    for cache in caches:
        if isinstance(cache, CacheList):
            yield from flat(cache.caches)
        else:
            yield cache
