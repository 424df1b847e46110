"""The KV cache of the package mlx-turboquant: rotated keys, values as they are, both affine.

Queries are rotated where mlx-lm's models attend, by its own hook. ``qjl`` adds its sketch of a bit
for each coordinate of a key, whose kernel is for Metal alone.
"""

from __future__ import annotations

from typing import Any

import mlx.core as mx
from mlx_turboquant.attention import patch_attention
from mlx_turboquant.kv_cache import TurboQuantKVCache

from worker.caches._layers import described, replaced
from worker.refusal import RefusalError

WIDTHS = {"bits": 0.5}  # scale and bias of 16 bits each, for 64 values
DEFAULTS = {"bits": 4, "group_size": 64, "qjl": False}
INSTALL = "mlx-turboquant==0.0.2"


def make_cache(model: Any, *, bits: int, group_size: int, qjl: bool) -> list[Any]:
    """Return mlx-lm's prompt cache with each KVCache replaced."""
    if qjl and not mx.metal.is_available():
        raise RefusalError("mlx_turboquant: qjl needs Metal; leave it out")
    patch_attention()
    return replaced(model, lambda: TurboQuantKVCache(group_size=group_size, bits=bits, qjl=qjl))


def describe(cache: list[Any]) -> dict[str, Any]:
    """Return what the cache says of itself, for the record."""
    return described(cache, TurboQuantKVCache, "quantized_matmul")
