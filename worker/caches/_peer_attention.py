"""How the caches of other implementations attend in their own way inside stock mlx-lm models.

mlx-lm hands keys of a cache that has ``bits`` to `quantized_scaled_dot_product_attention`, which it
looks up in its module at each call, so that one replacement reaches models that are imported
already. There, a cache that hands itself out in the place of keys and values is asked for
``attend(queries, scale, mask)``: queries [B, Hq, L, dim] are the newest tokens.
"""

from __future__ import annotations

from typing import Any

import mlx.core as mx
from mlx_lm.models import base

Mask = mx.array | str | None

stock_attention = base.quantized_scaled_dot_product_attention


def install() -> None:
    """Let caches attend by themselves; every other cache is treated as before."""
    base.quantized_scaled_dot_product_attention = _attention


def _attention(
    queries: mx.array, keys: Any, values: Any, scale: float, mask: Mask, **options: Any
) -> mx.array:
    attended: mx.array
    if hasattr(keys, "attend"):
        attended = keys.attend(queries, scale, mask)
    else:
        attended = stock_attention(queries, keys, values, scale, mask, **options)
    return attended
