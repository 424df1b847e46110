"""How a stock mlx-lm or mlx-vlm comes to attend over a packed cache, without a fork.

Every model of both calls ``mx.fast.scaled_dot_product_attention`` in the end, most of them through
a function that they import by name, some directly, and layers that share another layer's keys pass
no cache at all. A turbo cache hands out a `View` in the place of keys and values, so one look at
the keys there decides, for models that are already imported too.
"""

from __future__ import annotations

from typing import Any

import mlx.core as mx
from mlx_lm.models import cache as mlx_lm_cache

from .attention import attend
from .view import View

_stock_attention = mx.fast.scaled_dot_product_attention


def hook(*cache_classes: type) -> None:
    """Route `View` keys to our attention, and let mlx-lm load prompt caches of these classes."""
    # The options pass through whole, which mypy cannot see.
    mx.fast.scaled_dot_product_attention = _attention  # type: ignore[assignment]
    for cls in cache_classes:
        setattr(mlx_lm_cache, cls.__name__, cls)


def unhook() -> None:
    """Put everything back; a turbo cache that is still used raises MLX's TypeError."""
    mx.fast.scaled_dot_product_attention = _stock_attention
    package = __name__.rpartition(".")[0]
    ours = [cls for cls in vars(mlx_lm_cache).values() if isinstance(cls, type)]
    for cls in ours:
        if cls.__module__.rpartition(".")[0] == package:
            delattr(mlx_lm_cache, cls.__name__)


def _attention(queries: mx.array, keys: Any, values: Any, **options: Any) -> mx.array:
    if not isinstance(keys, View):
        return _stock_attention(queries, keys, values, **options)
    if options.get("sinks") is not None:
        raise ValueError(
            "the turbo cache does not support attention sinks; use fp16 for this model"
        )
    return attend(queries, keys, options["scale"], options.get("mask"))
