"""What attention reads: the keys and values of one layer, as they are stored."""

from __future__ import annotations

from dataclasses import dataclass

import mlx.core as mx

from .codec import Codec, Packed


@dataclass(frozen=True)
class Side:
    """Keys, or values, of one layer: whole preallocated buffers, of which a prefix is valid.

    Attributes
    ----------
    raw
        [B, H, rows, dim] in the model's dtype, never centred. Where there is a codec it holds the
        first tokens and the tail only; else all tokens in order.
    codec
        None where this side stays uncompressed.
    packed
        Codes uint32 [B, H, allocated, words] and scales fp16 [B, H, allocated]; None with no codec
        or before the first compression.
    """

    raw: mx.array
    codec: Codec | None
    packed: Packed | None

    def tile(self, start: int, stop: int, first_length: int) -> tuple[mx.array, mx.array | None]:
        """Return the tokens between two packed indices: float32 vectors, and scales to apply.

        Vectors of a compressed side are levels in its rotated space, [B, H, stop - start, dim].
        """
        if self.codec is None or self.packed is None:
            rows = slice(first_length + start, first_length + stop)
            return self.raw[:, :, rows].astype(mx.float32), None
        codes, scales = self.packed
        levels = self.codec.levels(codes[:, :, start:stop])
        return levels, scales[:, :, start:stop].astype(mx.float32)


@dataclass(frozen=True)
class View:
    """The keys and values that a query sees: ``first`` raw tokens, then packed ones, then the tail.

    A cache hands this object to the model in the place of both keys and values.

    Attributes
    ----------
    packed_length, first_length, tail_length
        Valid tokens. Of a compressed side's raw rows the first ``first_length`` precede the packed
        tokens in time, the next ``tail_length`` follow them.
    mean
        float32 [B, H, dim], subtracted from keys before they were packed; None where nothing was.
        It adds the same ``q . mean`` to all logits of a query, so every raw key ``k`` scores
        ``q . (k - mean)``.
    """

    keys: Side
    values: Side
    packed_length: int
    first_length: int
    tail_length: int
    mean: mx.array | None

    @property
    def length(self) -> int:
        return self.packed_length + self.first_length + self.tail_length

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Return the shape that uncompressed keys would have; some models read it."""
        batch, heads, _, dim = self.keys.raw.shape
        return batch, heads, self.length, dim

    def decoded(self) -> tuple[mx.array, mx.array]:
        """Return keys and values [B, H, tokens, dim] as plain arrays: a full copy."""
        keys, values = (self._decoded(side) for side in (self.keys, self.values))
        return keys, values

    def _decoded(self, side: Side) -> mx.array:
        if side.codec is None or side.packed is None or not self.packed_length:
            return side.raw[:, :, : self.length]
        codes, scales = (x[:, :, : self.packed_length] for x in side.packed)
        packed = side.codec.decode(Packed(codes, scales))
        if side is self.keys and self.mean is not None:
            packed = packed + self.mean[:, :, None]
        first, raw = self.first_length, self.first_length + self.tail_length
        parts = [side.raw[:, :, :first], packed.astype(side.raw.dtype), side.raw[:, :, first:raw]]
        return mx.concatenate(parts, axis=2)

    @property
    def ndim(self) -> int:
        return 4

    @property
    def dtype(self) -> mx.Dtype:
        return self.keys.raw.dtype
