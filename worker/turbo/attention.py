"""Attention over a packed cache in plain MLX operations: any mask, any number of query tokens.

The query is rotated once and meets the keys in their rotated space; values are summed in theirs and
the sum is rotated back once. Packed tokens are decoded some at a time, so a full decoded copy never
exists.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import mlx.core as mx

from .codec import Codec, Packed
from .fused import LONGEST_QUERY, enabled, fused_attention
from .masks import is_own
from .prompt import Mask, prompt_attention
from .stock import stock_attention
from .view import View

_LOWEST = float(mx.finfo(mx.float32).min)
_MOST_SCORES = 1 << 22
_TILE, _SMALLEST_TILE = 1 << 18, 256


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
    """Do what `attend` does in float32, on any device: what all else is compared with."""
    batch, heads, length, _ = queries.shape
    most = max(_MOST_SCORES // (batch * heads * view.length), LONGEST_QUERY)
    blocks: list[mx.array] = []
    for start in range(0, length, most):
        asking = queries[:, :, start : start + most]
        if blocks:  # one after the other: MLX would hold the scores of several blocks at once
            asking = mx.depends(asking, blocks[-1])
        part = _rows_of(mask, length, view.length, slice(start, start + most))
        blocks.append(_attend_block(asking, view, scale, part, sinks))
    return blocks[0] if len(blocks) == 1 else mx.concatenate(blocks, axis=2)


def _rows_of(mask: Mask, length: int, columns: int, rows: slice) -> mx.array | None:
    """Return the mask of some of the queries, of which there are so many."""
    if isinstance(mask, str):
        if mask != "causal":
            raise ValueError(f"unknown attention mask {mask!r}; allowed: causal, an array, None")
        if length == 1:
            return None
        return (mx.arange(columns - length, columns)[:, None] >= mx.arange(columns))[rows]
    return mask if mask is None or mask.shape[-2] == 1 else mask[..., rows, :]


def _attend_block(
    queries: mx.array, view: View, scale: float, mask: mx.array | None, sinks: mx.array | None
) -> mx.array:
    batch, query_heads, length, dim = queries.shape
    heads = view.shape[1]
    scaled = queries.astype(mx.float32).reshape(batch, heads, -1, dim) * scale
    scores = _scores(scaled, view)
    if mask is not None:
        grid = scores.reshape(batch, query_heads, length, view.length)
        scores = _masked(grid, mask).reshape(scores.shape)
    if sinks is not None:
        scores = mx.concatenate([scores, _sinks(sinks, scaled, view, length)], axis=-1)
    weights = mx.softmax(scores, axis=-1)[..., : view.length]
    return _summed(weights, view).reshape(batch, query_heads, length, -1).astype(queries.dtype)


def _masked(scores: mx.array, mask: mx.array) -> mx.array:
    if mask.dtype == mx.bool_:
        return mx.where(mask, scores, _LOWEST)
    return mx.maximum(scores + mask.astype(mx.float32), _LOWEST)


def _sinks(sinks: mx.array, scaled: mx.array, view: View, length: int) -> mx.array:
    """Return the logits [B, H, R, 1] behind which no value stands."""
    batch, heads, rows, _ = scaled.shape
    term = mx.repeat(sinks.astype(mx.float32).reshape(heads, -1), length, axis=1)[..., None]
    if view.centre is not None:  # all other logits lack this
        term = term - mx.sum(scaled * view.centre.mean[:, :, None], axis=-1, keepdims=True)
    return mx.broadcast_to(term, (batch, heads, rows, 1))


def _scores(queries: mx.array, view: View) -> mx.array:
    """Return the logits [B, H, R, columns] of scaled queries [B, H, R, dim]."""
    side, layout, centre = view.keys, view.layout, view.centre
    if side.codec is None or side.packed is None:
        return queries @ side.raw[:, :, : layout.columns].astype(mx.float32).swapaxes(-1, -2)
    raw = side.raw[:, :, : layout.raw].astype(mx.float32)
    if centre is not None:
        raw = raw - centre.mean[:, :, None]
    near = queries @ raw.swapaxes(-1, -2)
    rotated = side.codec.rotation.rotate(queries)
    parts = [near[..., : layout.first]]
    for levels, held in _decoded(side.codec, side.packed, layout.packed):
        part = (rotated @ levels.swapaxes(-1, -2)) * held.scales[:, :, None]
        if centre is not None and held.along is not None:
            there = mx.sum(rotated * centre.direction[:, :, None], axis=-1, keepdims=True)
            part = part + there * held.along[:, :, None]
        parts.append(part)
    return mx.concatenate([*parts, near[..., layout.first :]], axis=-1)


def _summed(weights: mx.array, view: View) -> mx.array:
    """Return the values [B, H, R, dim] summed with weights [B, H, R, columns]."""
    side, layout = view.values, view.layout
    if side.codec is None or side.packed is None:
        return weights @ side.raw[:, :, : layout.columns].astype(mx.float32)
    first, last = layout.first, layout.first + layout.packed
    near = mx.concatenate([weights[..., :first], weights[..., last:]], axis=-1)
    found = near @ side.raw[:, :, : layout.raw].astype(mx.float32)
    packed = weights[..., first:last]
    far = []
    for levels, held in _decoded(side.codec, side.packed, layout.packed):
        stop = held.scales.shape[2]
        far.append((packed[..., :stop] * held.scales[:, :, None]) @ levels)
        packed = packed[..., stop:]
    return found + side.codec.rotation.unrotate(sum(far[1:], far[0]))


def _decoded(codec: Codec, packed: Packed, count: int) -> Iterator[tuple[mx.array, Packed]]:
    """Yield some tokens at a time: float32 levels [B, H, some, dim] in the rotated space."""
    batch, heads, _ = packed.scales.shape
    size = max(_TILE // (batch * heads * codec.dim), _SMALLEST_TILE)
    for start in range(0, count, size):
        held = packed.between(start, min(start + size, count))
        yield codec.levels(held.codes), held
