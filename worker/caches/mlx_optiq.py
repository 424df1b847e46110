"""The KV cache of the package mlx-optiq: affine, after the first chunk, attended to in tiles.

``layer_bits`` are (layer, bits) of layers with bits of their own, as its measuring of a model gives
them (``optiq kv-cache``); it offers 4 and 8 bits. It wants older transformers than mlx-lm does, so
it is best measured in an environment of its own.
"""

from __future__ import annotations

from typing import Any

from mlx_lm.models.cache import KVCache, QuantizedKVCache, make_prompt_cache
from optiq.runtime import fused_quant_sdpa
from optiq.runtime.kv.rotating import quantize_cache_layer

from worker.caches._layers import described
from worker.caches.quantized import PromptCache
from worker.refusal import RefusalError

WIDTHS = {"bits": 0.5}  # scale and bias of 16 bits each, for 64 values
DEFAULTS = {"bits": 4, "group_size": 64, "layer_bits": []}
INSTALL = "mlx-optiq==0.7.7"
_OFFERED = (4, 8)


class FirstChunk(PromptCache):
    """The cache of the first chunk, quantized by optiq."""

    def become(self) -> QuantizedKVCache:
        return quantize_cache_layer(self, bits=self.kv_bits, group_size=self.kv_group_size)


def make_cache(model: Any, *, bits: int, group_size: int, layer_bits: list[list[int]]) -> list[Any]:
    """Return mlx-lm's prompt cache with each KVCache replaced by one that will be quantized."""
    own: dict[int, int] = {layer: given for layer, given in layer_bits}  # noqa: C416  pairs are lists
    if wrong := [given for given in (bits, *own.values()) if given not in _OFFERED]:
        raise RefusalError(f"mlx_optiq: {wrong[0]} bits; its kernels have 4 and 8")
    fused_quant_sdpa.install()
    return [
        FirstChunk(own.get(index, bits), group_size) if type(layer) is KVCache else layer
        for index, layer in enumerate(make_prompt_cache(model))
    ]


def describe(cache: list[Any]) -> dict[str, Any]:
    """Return what the cache says of itself, for the record."""
    quantized = any(isinstance(layer, QuantizedKVCache) for layer in cache)
    return described(cache, QuantizedKVCache, "quantized_matmul" if quantized else "stock")
