"""mlx-lm's affine quantized cache, from the first token on.

mlx-lm's own default leaves the first 5,000 tokens unquantized, which measures fp16 below that.
"""

from __future__ import annotations

from typing import Any

from mlx_lm.models.cache import KVCache, QuantizedKVCache, make_prompt_cache

DEFAULTS = {"bits": 8, "group_size": 64}


def make_cache(model: Any, *, bits: int, group_size: int) -> list[Any]:
    """Return mlx-lm's prompt cache with each KVCache replaced by a quantized one."""
    return [
        QuantizedKVCache(group_size=group_size, bits=bits) if type(layer) is KVCache else layer
        for layer in make_prompt_cache(model)
    ]


def describe(cache: list[Any]) -> dict[str, Any]:
    """Return what the cache says of itself, for the record."""
    quantized = [layer for layer in cache if isinstance(layer, QuantizedKVCache)]
    return {"layers": len(cache), "compressed_tokens": max(layer.offset for layer in quantized)}
