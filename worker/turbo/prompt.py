"""Attention of many queries over packed tokens, by MLX's own attention in the rotated space.

A layer's packed tokens are decoded to the model's dtype without being rotated back, its raw rows
and the queries are rotated, and the sum of values is rotated back once. What lives meanwhile is the
keys and values of one layer; beyond `MOST_BYTES`, of some of its key heads: heads are independent.
"""

from __future__ import annotations

from dataclasses import replace

import mlx.core as mx

from .fused import enabled, runs_here
from .fused_decode import fused_rotated
from .fused_turn import fused_turn
from .layout import Layout
from .rotation import Rotation
from .stock import stock_attention
from .view import Centre, Side, View

MOST_BYTES = 256 << 20
# MLX's attention on a CPU makes all scores of the queries that it is given at once.
_MOST_SCORES = 1 << 22

Mask = mx.array | str | None


def rotated(view: View, dtype: mx.Dtype) -> tuple[mx.array, mx.array]:
    """Return keys, less their mean, and values [B, H, columns, dim], each in its rotated space."""
    fused = fused_rotated(view) if enabled() and view.dtype == dtype else None
    if fused is not None:
        return fused
    keys = _rotated(view.keys, view.layout, view.centre, dtype)
    return keys, _rotated(view.values, view.layout, None, dtype)


def _uncentred(keys: mx.array, view: View) -> mx.array:
    """Put the mean back: without it all logits but a sink's lack the same."""
    if view.centre is None or view.keys.codec is None:
        return keys
    mean = view.keys.codec.rotation.rotate(view.centre.mean[:, :, None])
    return (keys + mean).astype(keys.dtype)


def _rotated(side: Side, layout: Layout, centre: Centre | None, dtype: mx.Dtype) -> mx.array:
    if side.codec is None or side.packed is None:
        return side.raw[:, :, : layout.columns].astype(dtype)
    rows = side.raw[:, :, : layout.raw].astype(mx.float32)
    if centre is not None:
        rows = rows - centre.mean[:, :, None]
    rows = side.codec.rotation.rotate(rows).astype(dtype)
    held = side.packed.between(0, layout.packed)
    direction = None if centre is None else centre.direction[:, :, None]
    packed = side.codec.decode_rotated(held, direction, dtype)
    return mx.concatenate([rows[:, :, : layout.first], packed, rows[:, :, layout.first :]], axis=2)


def prompt_attention(
    queries: mx.array, view: View, scale: float, mask: Mask, sinks: mx.array | None = None
) -> mx.array:
    """Do what `attend` does, for queries [B, Hq, L, dim] that are many."""
    heads = view.shape[1]
    group = queries.shape[1] // heads
    most = _heads_at_once(queries, view)
    parts: list[mx.array] = []
    for start in range(0, heads, most):
        some = slice(start, start + most)
        asked = slice(some.start * group, some.stop * group)
        asking = queries[:, asked]
        if parts:  # one after the other, or all pieces would live at once
            asking = mx.depends(asking, parts[-1])
        part = mask
        if isinstance(mask, mx.array) and mask.ndim == queries.ndim and mask.shape[1] > 1:
            part = mask[:, asked]
        few = sinks if sinks is None else sinks[asked]
        parts.append(_piece(asking, _some_heads(view, some), scale, part, few))
    return parts[0] if len(parts) == 1 else mx.concatenate(parts, axis=1)


def _piece(
    queries: mx.array, view: View, scale: float, mask: Mask, sinks: mx.array | None
) -> mx.array:
    keys, values = rotated(view, queries.dtype)
    if sinks is not None:
        keys = _uncentred(keys, view)
    key_codec, value_codec = view.keys.codec, view.values.codec
    if key_codec is not None:
        queries = _turned(queries, key_codec.rotation, back=False)
    found = _attended(queries, keys, values, scale, mask, sinks)
    return found if value_codec is None else _turned(found, value_codec.rotation, back=True)


def _turned(rows: mx.array, rotation: Rotation, *, back: bool) -> mx.array:
    """Rotate rows, or rotate them back, and keep their type."""
    turned = fused_turn(rows, rotation, back=back) if enabled() else None
    if turned is None:
        turned = rotation.unrotate(rows) if back else rotation.rotate(rows)
    return turned.astype(rows.dtype)


def _attended(
    queries: mx.array,
    keys: mx.array,
    values: mx.array,
    scale: float,
    mask: Mask,
    sinks: mx.array | None,
) -> mx.array:
    batch, heads, length, _ = queries.shape
    most = max(_MOST_SCORES // (batch * heads * keys.shape[2]), 1)
    if runs_here() or length <= most:
        return stock_attention(queries, keys, values, scale=scale, mask=mask, sinks=sinks)
    blocks: list[mx.array] = []
    for start in range(0, length, most):
        stop = min(start + most, length)
        seen, part = keys.shape[2], mask
        if isinstance(mask, str):  # causal: nobody in the block sees what comes after it
            seen -= length - stop
        elif mask is not None and mask.shape[-2] > 1:
            part = mask[..., start:stop, :]
        asking = queries[:, :, start:stop]
        if blocks:
            asking = mx.depends(asking, blocks[-1])
        few = (keys[:, :, :seen], values[:, :, :seen])
        blocks.append(stock_attention(asking, *few, scale=scale, mask=part, sinks=sinks))
    return mx.concatenate(blocks, axis=2)


def _heads_at_once(queries: mx.array, view: View) -> int:
    batch, heads, columns, dim = view.shape
    one = batch * columns * (dim + view.values.raw.shape[3]) * queries.dtype.size
    return min(max(MOST_BYTES // one, 1), heads)


def _some_heads(view: View, heads: slice) -> View:
    if heads.start == 0 and heads.stop >= view.shape[1]:
        return view

    def side(whole: Side) -> Side:
        packed = whole.packed and whole.packed.each(lambda x: x[:, heads])
        return Side(whole.raw[:, heads], whole.codec, packed)

    centre = view.centre and Centre(*(x[:, heads] for x in view.centre))
    return replace(view, keys=side(view.keys), values=side(view.values), centre=centre)
