"""Attention over a packed cache in plain MLX operations: any mask, any number of query tokens.

The query is rotated once and meets the keys in their rotated space; values are summed in theirs and
the sum is rotated back once. Tiles of tokens are dequantised one after the other under an online
softmax (Milakov and Gimelshein, arXiv 1805.02867), so neither a full score matrix nor a full
dequantised copy ever exists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import mlx.core as mx

from .fused import LONGEST_QUERY, enabled, fused_attention
from .masks import is_own
from .prompt import Mask, prompt_attention
from .stock import stock_attention
from .view import Side, View

_LOWEST = float(mx.finfo(mx.float32).min)
_QUERIES = 512
_TILE_SCORES = 1 << 20
_SMALLEST_TILE, _LARGEST_TILE = 256, 2048


def attention_path() -> str:
    """Name the way a decoded token meets packed tokens on this device."""
    return "fused" if enabled() else "portable"


def attend(
    queries: mx.array, view: View, scale: float, mask: Mask, sinks: mx.array | None = None
) -> mx.array:
    """Scaled dot product attention of queries [B, Hq, L, dim] over a `View`.

    The mask is None, ``"causal"`` (the queries are the newest tokens) or an array, boolean or
    additive, that broadcasts to [B, Hq, L, tokens]; sinks [Hq] are one more term of each head's
    softmax. The result has the queries' dtype and shape [B, Hq, L, dim of the values].
    """
    if view.then is not None:
        count, whole = view.then
        if not isinstance(mask, str):
            return attend(queries, whole, scale, mask, sinks)
        parts = [(queries[:, :, :count], replace(view, then=None)), (queries[:, :, count:], whole)]
        found = [attend(some, seen, scale, mask, sinks) for some, seen in parts]
        return mx.concatenate(found, axis=2)
    if not view.packed_length:
        keys, values = (side.raw[:, :, : view.length] for side in (view.keys, view.values))
        return stock_attention(queries, keys, values, scale=scale, mask=mask, sinks=sinks)
    if queries.shape[2] > LONGEST_QUERY:
        return prompt_attention(queries, view, scale, mask, sinks)
    fused = _fused(queries, view, scale, mask, sinks) if enabled() else None
    return portable_attention(queries, view, scale, mask, sinks) if fused is None else fused


def _fused(
    queries: mx.array, view: View, scale: float, mask: Mask, sinks: mx.array | None
) -> mx.array | None:
    """Ask the kernels; what a batch's own mask says the view's layout says too."""
    if isinstance(mask, mx.array) and is_own(mask):
        mask = "causal"
    return fused_attention(queries, view, scale, mask, sinks)


def portable_attention(
    queries: mx.array, view: View, scale: float, mask: Mask, sinks: mx.array | None = None
) -> mx.array:
    """Do what `attend` does by tiles in float32, on any device: what all else is compared with."""
    length = queries.shape[2]
    if length <= _QUERIES or view.tail_length < length:
        return _attend_block(queries, view, scale, mask, sinks)
    blocks: list[mx.array] = []
    for start, stop in _tiles(0, length, _QUERIES):
        seen, part = view, mask
        if isinstance(mask, str):  # causal: nobody in the block sees what comes after it
            seen = replace(view, layout=view.layout.trimmed(length - stop))
        elif mask is not None and mask.shape[-2] > 1:
            part = mask[..., start:stop, :]
        asking = queries[:, :, start:stop]
        if blocks:  # one after the other: MLX would hold the scores of several blocks at once
            asking = mx.depends(asking, blocks[-1])
        blocks.append(_attend_block(asking, seen, scale, part, sinks))
    return mx.concatenate(blocks, axis=2)


def _attend_block(
    queries: mx.array, view: View, scale: float, mask: Mask, sinks: mx.array | None
) -> mx.array:
    batch, query_heads, length, dim = queries.shape
    heads = view.shape[1]
    scaled = queries.astype(mx.float32).reshape(batch, heads, -1, dim) * scale
    masked = _masking(mask, (batch, heads, query_heads // heads, length), view)
    tile = min(max(_TILE_SCORES // (scaled.size // dim), _SMALLEST_TILE), _LARGEST_TILE)
    over = _Pass(scaled, view, masked, _OnlineSoftmax())
    first, raw = view.first_length, view.first_length + view.tail_length
    for start, stop in _tiles(0, first, tile):
        over.raw(start, stop, start)
    for start, stop in _tiles(first, raw, tile):
        over.raw(start, stop, start + view.packed_length)
    over.packed(tile)
    if sinks is not None:
        term = mx.repeat(sinks.astype(mx.float32).reshape(heads, -1), length, axis=1)[..., None]
        if view.centre is not None:  # all other logits lack this
            term = term - mx.sum(scaled * view.centre.mean[:, :, None], axis=-1, keepdims=True)
        over.softmax.add_sink(mx.broadcast_to(term, (*scaled.shape[:3], 1)))
    return over.softmax.mean().reshape(batch, query_heads, length, -1).astype(queries.dtype)


class _OnlineSoftmax:
    """The running maximum, sum of exponentials and weighted sum of values over tiles of tokens."""

    def __init__(self) -> None:
        self._peak: mx.array | None = None
        self._total: mx.array
        self._sum: mx.array

    def add(self, scores: mx.array, values: mx.array, scales: mx.array | None) -> None:
        """Take in scores [B, H, R, m] and values [B, H, m, dim], scales [B, H, m] if separate."""
        peak = mx.max(scores, axis=-1, keepdims=True)
        if self._peak is not None:
            peak = mx.maximum(peak, self._peak)
        weights = mx.exp(scores - peak)
        total = mx.sum(weights, axis=-1, keepdims=True)
        if scales is not None:
            weights = weights * scales[..., None, :]
        added = weights @ values
        if self._peak is None:
            self._total, self._sum = total, added
        else:
            decay = mx.exp(self._peak - peak)
            self._total, self._sum = self._total * decay + total, self._sum * decay + added
        self._peak = peak

    def add_sink(self, sink: mx.array) -> None:
        """Take in a logit [B, H, R, 1] of nothing: no value stands behind it."""
        if self._peak is not None:
            peak = mx.maximum(sink, self._peak)
            decay = mx.exp(self._peak - peak)
            self._total = self._total * decay + mx.exp(sink - peak)
            self._sum, self._peak = self._sum * decay, peak

    def transform(self, change: Callable[[mx.array], mx.array]) -> None:
        """Move the sum of values into another basis."""
        if self._peak is not None:
            self._sum = change(self._sum)

    def mean(self) -> mx.array:
        return self._sum / self._total


_Masking = Callable[[mx.array, int], mx.array]


@dataclass(frozen=True)
class _Pass:
    """One attention: queries [B, H, R, dim], scaled, over the tokens of a view."""

    scaled: mx.array
    view: View
    masked: _Masking
    softmax: _OnlineSoftmax

    def raw(self, start: int, stop: int, column: int) -> None:
        """Take in rows of the compressed sides' raw buffers that stand at a column in time."""
        rows, in_order = slice(start, stop), slice(column, column + stop - start)
        keys, values = self.view.keys, self.view.values
        key = keys.raw[:, :, in_order if keys.codec is None else rows].astype(mx.float32)
        value = values.raw[:, :, in_order if values.codec is None else rows]
        if self.view.centre is not None:
            key = key - self.view.centre.mean[:, :, None]
        scores = self.masked(self.scaled @ key.swapaxes(-1, -2), column)
        self.softmax.add(scores, value.astype(mx.float32), None)

    def packed(self, tile: int) -> None:
        """Take in all packed tokens, in the rotated space of each side that has one."""
        keys, values, first = self.view.keys, self.view.values, self.view.first_length
        queries = self.scaled if keys.codec is None else keys.codec.rotation.rotate(self.scaled)
        if values.codec is not None:
            self.softmax.transform(values.codec.rotation.rotate)
        along = self._along(queries)
        for start, stop in _tiles(0, self.view.packed_length, tile):
            level, scale = _tile(keys, start, stop, first)
            scores = queries @ level.swapaxes(-1, -2)
            if scale is not None:
                scores = scores * scale[..., None, :]
            if along is not None and keys.packed is not None and keys.packed.along is not None:
                scores = scores + along * keys.packed.along[:, :, None, start:stop]
            scores = self.masked(scores, start + first)
            self.softmax.add(scores, *_tile(values, start, stop, first))
        if values.codec is not None:
            self.softmax.transform(values.codec.rotation.unrotate)

    def _along(self, queries: mx.array) -> mx.array | None:
        """Return the rotated queries' products with the direction that keys keep, [B, H, R, 1]."""
        centre = self.view.centre
        if centre is None or self.view.keys.codec is None:
            return None
        return mx.sum(queries * centre.direction[:, :, None], axis=-1, keepdims=True)


def _tile(side: Side, start: int, stop: int, first: int) -> tuple[mx.array, mx.array | None]:
    """Return the tokens between two packed indices: float32 vectors, and scales to apply.

    Vectors of a compressed side are levels in its rotated space, [B, H, stop - start, dim].
    """
    if side.codec is None or side.packed is None:
        return side.raw[:, :, first + start : first + stop].astype(mx.float32), None
    held = side.packed.between(start, stop)
    return side.codec.levels(held.codes), held.scales.astype(mx.float32)


def _tiles(start: int, stop: int, size: int) -> Iterator[tuple[int, int]]:
    for first in range(start, stop, size):
        yield first, min(first + size, stop)


def _masking(mask: Mask, grouped: tuple[int, int, int, int], view: View) -> _Masking:
    """Return what masks the scores [B, H, R, m] of the tokens from a column on."""
    batch, heads, groups, length = grouped
    if mask is None:
        return lambda scores, _: scores
    if isinstance(mask, str):
        if mask != "causal":
            raise ValueError(f"unknown attention mask {mask!r}; allowed: causal, an array, None")
        return lambda scores, column: _causal(scores, column, view.length - length, length)
    whole = mx.broadcast_to(mask, (batch, heads * groups, length, view.length))
    whole = mx.unflatten(whole, 1, (heads, groups))

    def from_array(scores: mx.array, column: int) -> mx.array:
        part = whole[..., column : column + scores.shape[-1]]
        grid = scores.reshape(*part.shape)
        if part.dtype == mx.bool_:
            grid = mx.where(part, grid, _LOWEST)
        else:
            grid = mx.maximum(grid + part.astype(mx.float32), _LOWEST)
        return grid.reshape(scores.shape)

    return from_array


def _causal(scores: mx.array, column: int, offset: int, length: int) -> mx.array:
    """Mask tokens later than their query; query i stands at position ``offset + i``."""
    *rows, size = scores.shape
    if column + size <= offset + 1:
        return scores
    position = mx.arange(offset, offset + length)[:, None]
    visible = position >= mx.arange(column, column + size)
    grid = scores.reshape(*rows[:-1], -1, length, size)
    return mx.where(visible, grid, _LOWEST).reshape(scores.shape)
