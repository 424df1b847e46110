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
from .stock import before, stock_attention
from .view import View

_state = {"active": False}


def hook(*cache_classes: type) -> None:
    """Route `View` keys to our attention, and let mlx-lm load prompt caches of these classes.

    It is done once: whoever wraps MLX's attention after us stays outermost.
    """
    current = mx.fast.scaled_dot_product_attention
    if before.get("attention", current) is current:
        before["attention"] = current
        mx.fast.scaled_dot_product_attention = _attention
    _state["active"] = True
    register(*cache_classes)


def register(*cache_classes: type) -> None:
    """Let mlx-lm load prompt caches of these classes."""
    for cls in cache_classes:
        setattr(mlx_lm_cache, cls.__name__, cls)


def unhook() -> None:
    """Take away what is ours; a turbo cache that is still used raises MLX's TypeError.

    Where somebody wrapped MLX's attention after us, their wrapper stays and ours lets all through.
    """
    _state["active"] = False
    if mx.fast.scaled_dot_product_attention is _attention:
        mx.fast.scaled_dot_product_attention = before.pop("attention")
    package = __name__.rpartition(".")[0]
    ours = [cls for cls in vars(mlx_lm_cache).values() if isinstance(cls, type)]
    for cls in ours:
        if cls.__module__.rpartition(".")[0] == package:
            delattr(mlx_lm_cache, cls.__name__)


def _attention(q: Any, k: Any, v: Any, **options: Any) -> mx.array:
    """Stand for MLX's function, with its names."""
    if _state["active"] and isinstance(k, View):
        return attend(q, k, options["scale"], options.get("mask"), options.get("sinks"))
    return stock_attention(q, k, v, **options)
