"""The reference implementation, ``mlx.nn.layers.turbo_kv_cache`` of a fork of MLX.

Its cache attends to a decoded copy in 16 bits, which ``kv_bytes`` shows and its own ``nbytes`` not
always does. ``key_bits: 0`` keeps keys as they are.
"""

from __future__ import annotations

from typing import Any

from mlx.nn.layers.turbo_kv_cache import TurboKVCache
from mlx_lm.models.cache import KVCache, make_prompt_cache

from worker.refusal import RefusalError

DEFAULTS = {"bits": 4, "key_bits": 4, "boundary_layers": 0}
INSTALL = "git+https://github.com/TheTom/mlx.git@feature/turboquant-plus"


def make_cache(model: Any, *, bits: int, key_bits: int, boundary_layers: int) -> list[Any]:
    """Return mlx-lm's prompt cache with each KVCache replaced, but for some at either end."""
    caches = list(make_prompt_cache(model))
    layers = [index for index, layer in enumerate(caches) if type(layer) is KVCache]
    for index in layers[boundary_layers : len(layers) - boundary_layers]:
        try:
            caches[index] = TurboKVCache(bits=bits, key_bits=key_bits)
        except ValueError as error:
            raise RefusalError(f"turboquant_plus: {error}") from error
        # Its trim leaves packed tokens where they are: benchmarks are to copy it instead.
        caches[index].is_trimmable = lambda: False
    return caches


def describe(cache: list[Any]) -> dict[str, Any]:
    """Return what the cache says of itself, for the record."""
    replaced = [layer for layer in cache if isinstance(layer, TurboKVCache)]
    return {
        "layers": len(cache),
        "turbo_layers": len(replaced),
        "claims": [repr(layer) for layer in replaced[:1]],
        "attention_path": "stock",
    }
