"""mlx-lm's affine quantized cache, started at 0.

mlx-lm leaves the first 5,000 tokens unquantized by default, which measures fp16 below that. As in
``mlx_lm.generate(quantized_kv_start=0)``, the first chunk of the prompt is read with fp16 KV and
quantized as soon as it is in; all that follows attends to quantized keys and values.
"""

from __future__ import annotations

from typing import Any

from mlx_lm.models.cache import KVCache, QuantizedKVCache

from worker.caches._layers import replaced

WIDTHS = {"bits": 0.5}  # scale and bias of 16 bits each, for 64 values
DEFAULTS = {"bits": 8, "group_size": 64}


class PromptCache(KVCache):
    """The cache of the first chunk, whose place a quantized one then takes."""

    def __init__(self, kv_bits: int, kv_group_size: int) -> None:
        super().__init__()
        self.kv_bits = kv_bits
        self.kv_group_size = kv_group_size

    def become(self) -> QuantizedKVCache:
        return self.to_quantized(group_size=self.kv_group_size, bits=self.kv_bits)


def make_cache(model: Any, *, bits: int, group_size: int) -> list[Any]:
    """Return mlx-lm's prompt cache with each KVCache replaced by one that will be quantized."""
    return replaced(model, lambda: PromptCache(bits, group_size))


def describe(cache: list[Any]) -> dict[str, Any]:
    """Return what the cache says of itself, for the record."""
    quantized = [layer.offset for layer in cache if isinstance(layer, QuantizedKVCache)]
    return {
        "layers": len(cache),
        "compressed_tokens": max(quantized, default=0),
        "attention_path": "quantized_matmul" if quantized else "stock",
    }
