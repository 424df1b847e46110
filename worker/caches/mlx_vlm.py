"""mlx-vlm's TurboQuant, in mlx-lm's models; needs the package mlx-vlm.

As mlx-vlm's own generation does, the last layer of more than two stays in the model's 16-bit type,
unless ``raw_last_layers`` says otherwise. ``key_bits`` and ``value_bits`` of 0 mean ``bits``, of
which halves are allowed too.
"""

from __future__ import annotations

from typing import Any, Self

import mlx.core as mx
from mlx_lm.models.cache import KVCache, make_prompt_cache
from mlx_vlm.models.base import scaled_dot_product_attention
from mlx_vlm.turboquant import TurboQuantKVCache

from worker.caches import _peer_attention
from worker.caches._layers import described
from worker.refusal import RefusalError

WIDTHS = {"bits": 0.5}  # scale and bias of 16 bits each, for 64 values
DEFAULTS = {"bits": 4, "key_bits": 0, "value_bits": 0, "raw_last_layers": 1}
INSTALL = "mlx-vlm==0.7.10"


class MlxVlmCache(TurboQuantKVCache):
    """mlx-vlm's cache, whose attention mlx-lm's models reach through `peer_attention`."""

    #: mlx-lm reads it of every cache that has ``bits``; nothing here is in groups.
    group_size = 64

    def update_and_fetch(self, keys: mx.array, values: mx.array) -> tuple[Self, Self]:
        """Store new tokens [B, H, L, dim]; the cache itself stands for keys and values."""
        super().update_and_fetch(keys, values)
        return self, self

    def attend(self, queries: mx.array, scale: float, mask: _peer_attention.Mask) -> mx.array:
        """Attend as mlx-vlm's own models do."""
        found: mx.array = scaled_dot_product_attention(
            queries, *self.state, cache=self, scale=scale, mask=mask
        )
        return found


def make_cache(
    model: Any, *, bits: float, key_bits: float, value_bits: float, raw_last_layers: int
) -> list[Any]:
    """Return mlx-lm's prompt cache with each KVCache but the last ones replaced."""
    _peer_attention.install()
    caches = list(make_prompt_cache(model))
    layers = [index for index, layer in enumerate(caches) if type(layer) is KVCache]
    for index in layers[: len(layers) - raw_last_layers]:
        try:
            caches[index] = MlxVlmCache(
                bits, key_bits=key_bits or None, value_bits=value_bits or None
            )
        except ValueError as error:
            raise RefusalError(f"mlx_vlm: {error}") from error
    return caches


def describe(cache: list[Any]) -> dict[str, Any]:
    """Return what the cache says of itself, for the record."""
    return described(cache, MlxVlmCache, "mlx_vlm")
