"""mlx-lm's affine quantized cache after centring keys and rotating both sides: stock kernels alone.

Rotated coordinates are alike, which is what one scale for a group of them needs; a mean per head
that is taken off the keys adds the same number to all logits of a query. At 4 bits this is about as
good as TurboQuant's levels, at fewer bits it is not.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal, Self, get_args

import mlx.core as mx
from mlx_lm.models.cache import QuantizedKVCache

from worker.caches import _peer_attention
from worker.caches._layers import replaced
from worker.refusal import RefusalError

WIDTHS = {"bits": 0.5}  # scale and bias of 16 bits each, for 64 values
DEFAULTS = {"bits": 4, "group_size": 64, "key_centring": "mean", "rotation": "dense"}

Centring = Literal["mean", "none"]
Rotation = Literal["dense", "none"]
_SEED = 42
_FEW = 8  # query tokens


class RotatedAffineCache(QuantizedKVCache):
    """Quantizes every token as it comes, in a rotated space; the mean is that of the first step."""

    def __init__(self, bits: int, group_size: int, centring: Centring, rotation: Rotation) -> None:
        super().__init__(group_size=group_size, bits=bits)
        self.centring = centring
        self.rotation = rotation
        self.mean: mx.array | None = None

    def update_and_fetch(self, keys: mx.array, values: mx.array) -> tuple[Self, Self]:
        """Store new tokens [B, H, L, dim]; the cache itself stands for keys and values."""
        if keys.shape[-1] % self.group_size or values.shape[-1] % self.group_size:
            raise RefusalError(
                f"rotated_affine: groups of {self.group_size} do not divide a head of "
                f"{keys.shape[-1]}; choose another group_size"
            )
        if self.mean is None and self.centring == "mean":
            self.mean = mx.mean(keys.astype(mx.float32), axis=2, keepdims=True).astype(keys.dtype)
        centred = keys if self.mean is None else keys - self.mean
        super().update_and_fetch(self._turned(centred), self._turned(values))
        return self, self

    def attend(self, queries: mx.array, scale: float, mask: _peer_attention.Mask) -> mx.array:
        """Attend in the rotated space, by mlx-lm's own function for quantized caches.

        A part of a prompt sees a decoded copy: the function would make its whole score matrix.
        """
        turned, sides = self._turned(queries), self.keys_and_values()
        found: mx.array
        if queries.shape[2] > _FEW:
            keys, values = (self._decoded(side) for side in sides)
            found = mx.fast.scaled_dot_product_attention(
                turned, keys, values, scale=scale, mask=mask
            )
        else:
            how = {"group_size": self.group_size, "bits": self.bits}
            found = _peer_attention.stock_attention(turned, *sides, scale, mask, **how)
        return _times(found, _rotation(found.shape[-1]).T) if self.rotation == "dense" else found

    @property
    def nbytes(self) -> int:
        mean = 0 if self.mean is None else self.mean.nbytes
        return int(super().nbytes) + mean

    @property
    def state(self) -> tuple[Any, ...]:
        return (*super().state, self.mean, self.centring, self.rotation)

    @state.setter
    def state(self, state: tuple[Any, ...]) -> None:
        *stock, self.mean, self.centring, self.rotation = state
        QuantizedKVCache.state.fset(self, stock)

    def _decoded(self, side: tuple[mx.array, mx.array, mx.array]) -> mx.array:
        """Return keys or values [B, H, tokens, dim], still in the rotated space."""
        codes, scales, biases = side
        return mx.dequantize(codes, scales, biases, self.group_size, self.bits)

    def _turned(self, x: mx.array) -> mx.array:
        return _times(x, _rotation(x.shape[-1])) if self.rotation == "dense" else x


@lru_cache(maxsize=8)
def _rotation(dim: int) -> mx.array:
    """Return a random orthogonal matrix, the same in every process."""
    normal = mx.random.normal((dim, dim), key=mx.random.key(_SEED))
    matrix, _ = mx.linalg.qr(normal, stream=mx.cpu)
    mx.eval(matrix)
    return matrix


def _times(x: mx.array, matrix: mx.array) -> mx.array:
    return (x.astype(mx.float32) @ matrix).astype(x.dtype)


def make_cache(
    model: Any, *, bits: int, group_size: int, key_centring: Centring, rotation: Rotation
) -> list[Any]:
    """Return mlx-lm's prompt cache with each KVCache replaced."""
    for name, value, allowed in (
        ("key_centring", key_centring, get_args(Centring)),
        ("rotation", rotation, get_args(Rotation)),
    ):
        if value not in allowed:
            raise RefusalError(f"rotated_affine: {name}: {value!r}; allowed: {', '.join(allowed)}")
    _peer_attention.install()
    return replaced(model, lambda: RotatedAffineCache(bits, group_size, key_centring, rotation))


def describe(cache: list[Any]) -> dict[str, Any]:
    """Return what the cache says of itself, for the record."""
    quantized = [layer.offset for layer in cache if isinstance(layer, RotatedAffineCache)]
    return {
        "layers": len(cache),
        "compressed_tokens": max(quantized, default=0),
        "attention_path": "quantized_matmul",
    }
