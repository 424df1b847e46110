"""What attention reads: the keys and values of one layer, as they are stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import mlx.core as mx

from .codec import Codec, Packed
from .layout import Layout


class Centre(NamedTuple):
    """What is taken from keys before they are packed, for each sequence and key head.

    Attributes
    ----------
    mean
        float32 [B, H, dim]. It adds the same ``q . mean`` to all logits of a query, so every key
        ``k`` may score ``q . (k - mean)`` instead.
    direction
        float32 [B, H, dim], the mean at length 1 and rotated, along which packed keys are exact;
        zero where there is no mean.
    """

    mean: mx.array
    direction: mx.array


@dataclass(frozen=True)
class Side:
    """Keys, or values, of one layer: whole preallocated buffers, of which a prefix is valid.

    Attributes
    ----------
    raw
        [B, H, rows, dim] in the model's dtype, never centred. Where there is a codec it holds the
        first tokens and the tail only; else all columns in order.
    codec
        None where this side stays uncompressed.
    packed
        Codes uint32 [B, H, allocated, words], scales and (for keys) ``along`` fp16
        [B, H, allocated]; None with no codec.
    """

    raw: mx.array
    codec: Codec | None
    packed: Packed | None


@dataclass(frozen=True)
class View:
    """The keys and values that a query sees: ``first`` raw tokens, then packed ones, then the tail.

    A cache hands this object to the model in the place of both keys and values.

    Attributes
    ----------
    layout
        Which of the columns are whose. Of a compressed side's raw rows ``layout.first`` precede the
        packed columns, the next ``layout.tail`` follow them.
    centre
        What the packed keys lack; None where nothing was taken from them.
    then
        Where tokens left the tail amid a few new ones: how many queries see this view, and the
        whole view, which the others see.
    """

    keys: Side
    values: Side
    layout: Layout
    centre: Centre | None
    then: tuple[int, View] | None = None

    @property
    def packed_length(self) -> int:
        return self.layout.packed

    @property
    def first_length(self) -> int:
        return self.layout.first

    @property
    def tail_length(self) -> int:
        return self.layout.tail

    @property
    def length(self) -> int:
        return self.layout.columns

    @property
    def lengths(self) -> mx.array | None:
        """Count the tokens of each sequence, int32 [B]; None where every column is a token."""
        return self.layout.counts

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Return the shape that uncompressed keys would have; some models read it."""
        if self.then is not None:
            return self.then[1].shape
        batch, heads, _, dim = self.keys.raw.shape
        return batch, heads, self.length, dim

    def astype(self, dtype: mx.Dtype) -> View:  # noqa: ARG002  an array's signature
        """Return itself: attention gives its result in the type of the queries."""
        return self

    def decoded(self) -> tuple[mx.array, mx.array]:
        """Return keys and values [B, H, columns, dim] as plain arrays: a full copy."""
        if self.then is not None:
            return self.then[1].decoded()
        keys, values = (self._decoded(side) for side in (self.keys, self.values))
        return keys, values

    def _decoded(self, side: Side) -> mx.array:
        if side.codec is None or side.packed is None or not self.packed_length:
            return side.raw[:, :, : self.length]
        held = side.packed.between(0, self.packed_length)
        if side is self.keys and self.centre is not None:
            packed = side.codec.decode(held, self.centre.direction[:, :, None])
            packed = packed + self.centre.mean[:, :, None]
        else:
            packed = side.codec.decode(held)
        first, raw = self.layout.first, self.layout.raw
        parts = [side.raw[:, :, :first], packed.astype(side.raw.dtype), side.raw[:, :, first:raw]]
        return mx.concatenate(parts, axis=2)

    @property
    def ndim(self) -> int:
        return 4

    @property
    def dtype(self) -> mx.Dtype:
        return self.keys.raw.dtype
