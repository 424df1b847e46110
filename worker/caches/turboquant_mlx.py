"""TurboQuant of the package turboquant-mlx-full, which attends to a decoded copy in 16 bits.

Of its several ways this is the one that its own command line takes, without its kernel for Metal.
``first_tokens`` are its tokens in 16 bits at the start, of which it recommends 1,024.
"""

from __future__ import annotations

from typing import Any

from turboquant_mlx.layers.polar_kv_cache import TurboQuantKVCache

from worker.caches._layers import described, replaced

WIDTHS = {"key_bits": 0.25, "value_bits": 0.25}  # a scale of 16 bits for 64 values
DEFAULTS = {"key_bits": 8, "value_bits": 3, "first_tokens": 0}
INSTALL = "turboquant-mlx-full==0.30.0"


def make_cache(model: Any, *, key_bits: int, value_bits: int, first_tokens: int) -> list[Any]:
    """Return mlx-lm's prompt cache with each KVCache replaced."""
    return replaced(
        model,
        lambda: TurboQuantKVCache(
            k_bits=key_bits, v_bits=value_bits, min_tokens_before_quant=first_tokens
        ),
    )


def describe(cache: list[Any]) -> dict[str, Any]:
    """Return what the cache says of itself, for the record."""
    return described(cache, TurboQuantKVCache, "stock")
