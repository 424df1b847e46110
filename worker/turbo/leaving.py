"""Tokens that leave the tail: the very first of a sequence stay raw, the others are packed."""

from __future__ import annotations

from typing import NamedTuple

import mlx.core as mx

from .codec import Codec, Packed
from .fused import enabled
from .fused_codec import fused_encode
from .fused_keep import Kept, Rows, fused_keep
from .layout import Layout
from .rotation import Rotation
from .view import Centre, Side


class Left(NamedTuple):
    """A layer without the tokens that left its tail, and what came of them.

    Attributes
    ----------
    new
        The codes of keys and of values, to be written from the packed column ``before.packed``
        on; None where nothing is to be written.
    raw
        The raw rows of keys and of values: first rows and tail, with room behind them or without,
        or all columns of a side without a codec.
    flags
        No element is 0 if all that is new is finite; None where nobody looked.
    covers
        What was given as ``earlier``, if the flags contain it.
    """

    layout: Layout
    centre: Centre | None
    new: tuple[Packed | None, Packed | None]
    raw: tuple[mx.array, mx.array]
    flags: mx.array | None = None
    covers: mx.array | None = None


def leaving(
    sides: tuple[Side, Side],
    before: Layout,
    centre: Centre | None,
    kept: int,
    first_tokens: int,
    *,
    centred: bool,
    capacity: int,
    earlier: mx.array | None,
) -> Left:
    """Return what becomes of all but the ``kept`` newest tokens of the tail.

    Parameters
    ----------
    sides
        Buffers whose raw rows hold the whole tail; they are left as they are.
    before
        The layout that they have.
    centred
        Whether packed keys are to be centred.
    capacity
        The raw rows that a compressed side has room for.
    earlier
        Flags of another layer, for these to contain.
    """
    after = before.left(kept, first_tokens)
    gone, added = before.tail - kept, after.packed - before.packed
    rows = slice(before.first + gone - added, before.first + gone)
    keys, values = sides
    if centred and keys.codec is not None and added:
        vectors = _rows(keys, before, rows)
        centre = _centre(centre, vectors, before, gone, first_tokens, keys.codec.rotation)
    new = _encoded(sides, before, rows, centre if keys.codec is not None else None)
    if before.padding is None:
        stay = Rows(after.first, before.raw - after.tail, after.tail, capacity)
        copied = _kept(sides, new, stay, earlier)
        if copied is not None:
            return Left(after, centre, new, copied.raw, copied.flags, copied.covers)
    return Left(after, centre, new, (_raw(keys, before, after), _raw(values, before, after)))


def _kept(
    sides: tuple[Side, Side],
    new: tuple[Packed | None, Packed | None],
    rows: Rows,
    earlier: mx.array | None,
) -> Kept | None:
    """Let a kernel copy the raw rows that stay, where both sides have packed some."""
    keys, values = new
    if not enabled() or keys is None or values is None:
        return None
    return fused_keep((sides[0].raw, sides[1].raw), (keys, values), rows, earlier)


def _rows(side: Side, before: Layout, rows: slice) -> mx.array:
    """Return raw rows, counted as they lie in a side with a codec."""
    if side.codec is None:
        rows = slice(rows.start + before.packed, rows.stop + before.packed)
    return side.raw[:, :, rows]


def _encoded(
    sides: tuple[Side, Side], before: Layout, rows: slice, centre: Centre | None
) -> tuple[Packed | None, Packed | None]:
    """Pack some raw rows of each side that has a codec, if there are any."""
    if rows.start == rows.stop:
        return None, None
    keys, values = ((side.codec, _rows(side, before, rows)) for side in sides)
    fused = fused_encode(keys, values, centre) if enabled() else None
    if fused is not None:
        return fused
    return _packed(*keys, centre), _packed(*values, None)


def _packed(codec: Codec | None, rows: mx.array, centre: Centre | None) -> Packed | None:
    if codec is None:
        return None
    if centre is None:
        return codec.encode(rows)
    return codec.encode(rows - centre.mean[:, :, None], centre.direction[:, :, None])


def _raw(side: Side, before: Layout, after: Layout) -> mx.array:
    """Return a side's raw rows without the tokens that left; all columns if it has no codec."""
    if side.codec is None:
        return _columns(side, before, after)
    first = side.raw[:, :, : after.first]
    if before.padding is not None:
        first = _first(side, before, after)
    tail = side.raw[:, :, before.raw - after.tail : before.raw]
    return mx.concatenate([first, tail], axis=2)


def _columns(side: Side, before: Layout, after: Layout) -> mx.array:
    if before.padding is None or not after.first:
        return side.raw
    first = _first(side, before, after)
    if after.columns == before.columns:
        columns = side.raw[:]
        columns[:, :, : after.first] = first
        return columns
    others = side.raw[:, :, before.columns - (after.packed + after.tail) : before.columns]
    return mx.concatenate([first, others], axis=2)


def _first(side: Side, before: Layout, after: Layout) -> mx.array:
    """Gather the first tokens of each padded sequence: those that leave now, or were there."""
    older = _older(before)
    place = mx.arange(after.first)[None] - older[:, None]  # in the tail
    leaves = (place >= 0) & (place < before.tail - after.tail)
    at = before.first + (before.packed if side.codec is None else 0)
    taken = mx.minimum(mx.maximum(place, 0), before.tail - 1) + at
    found = mx.take_along_axis(side.raw, taken[:, None, :, None], axis=2)
    room = [(0, 0), (0, 0), (0, after.first - before.first), (0, 0)]
    held = mx.pad(side.raw[:, :, : before.first], room)
    return mx.where(leaves[:, None, :, None], found, held)


def _older(layout: Layout) -> mx.array:
    """Count the tokens of each padded sequence that are not in the tail, below 0 if short."""
    if layout.counts is None:
        raise ValueError("only a padded layout has sequences of several lengths")
    return layout.counts - layout.tail


def _centre(
    held: Centre | None,
    vectors: mx.array,
    before: Layout,
    gone: int,
    first_tokens: int,
    rotation: Rotation,
) -> Centre:
    """Return each sequence's centre: that in use, or that of its first real tokens to be packed.

    A sequence of which padding alone is packed waits with a centre of zero.
    """
    vectors = vectors.astype(mx.float32)
    if before.padding is None:
        if held is not None and before.packed:
            return held
        return centre_of(mx.mean(vectors, axis=2), rotation)
    older = _older(before)
    place = older[:, None] + mx.arange(gone - vectors.shape[2], gone)
    real = place >= first_tokens
    if before.ends is not None:
        real = real & (place < before.ends[:, None])
        older = mx.minimum(older, before.ends)
    vectors = mx.where(real[:, None, :, None], vectors, 0)
    mean = mx.sum(vectors, axis=2) / mx.maximum(mx.sum(real, axis=1), 1)[:, None, None]
    if held is not None:
        mean = mx.where((older > first_tokens)[:, None, None], held.mean, mean)
    return centre_of(mean, rotation)


def centre_of(mean: mx.array, rotation: Rotation) -> Centre:
    """Return the centre that means [B, H, dim] make."""
    length = mx.linalg.norm(mean, axis=-1, keepdims=True)
    return Centre(mean, rotation.rotate(mean) / mx.maximum(length, 1e-30))
