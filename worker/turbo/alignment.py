"""Stores of different lengths brought to one, sequences picked and moved: what batching needs.

Columns are aligned at their right end. What stands left of a sequence's start is of no meaning; the
batch's attention mask hides it. No function here changes the stores that it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import mlx.core as mx
from mlx_lm.models.cache import dynamic_roll

from .codec import Packed
from .settings import Settings
from .store import Store, encode
from .view import Side

Part = tuple[Store, mx.array]  # with the left padding of its sequences

_Change = Callable[[mx.array], mx.array]


def aligned(parts: Sequence[Part], settings: Settings) -> Part:
    """Put the sequences of all parts into one store.

    Its tail is as long as in the part that keeps the fewest raw tokens after packed ones; the
    others pack what they have beyond it.
    """
    filled = [store for store, _ in parts if store.sides is not None]
    if not filled:
        return Store(settings), mx.concatenate([padding for _, padding in parts])
    stores = [_opened(store, filled[0], padding.size, settings) for store, padding in parts]
    tails = [store.raw_length for store in stores if store.packed_length]
    tail = min(tails) if tails else max(store.raw_length for store in stores)
    for store in stores:
        store.compress(tail)
    joined = Store(settings)
    total = max(store.length for store in stores)
    joined.packed_length, joined.raw_length = total - tail, tail
    joined.sides = (
        _stacked([_justified(store, 0, joined) for store in stores]),
        _stacked([_justified(store, 1, joined) for store in stores]),
    )
    if joined.packed_length:
        joined.mean = _means(stores)
    left = [
        padding + (total - store.length) for store, (_, padding) in zip(stores, parts, strict=True)
    ]
    return joined, mx.concatenate(left)


def selected(store: Store, sequences: mx.array) -> Store:
    """Return a store of some sequences of the batch."""
    chosen = store.copy()
    if store.sides is not None:
        chosen.sides = _each_side(store.sides, lambda x: x[sequences], lambda x: x[sequences])
    chosen.mean = None if store.mean is None else store.mean[sequences]
    return chosen


def dropped_left(store: Store, count: int) -> Store:
    """Return a store without its oldest columns; there are no first tokens in a batch."""
    left = store.copy()
    if store.sides is None:
        return left
    packed = min(count, store.packed_length)
    left.packed_length -= packed
    left.raw_length -= count - packed
    if not left.packed_length:
        left.mean = None

    def without(side: Side) -> Side:
        if side.codec is None or side.packed is None:
            return replace(side, raw=mx.contiguous(side.raw[:, :, count : store.length]))
        codes, scales = (mx.contiguous(x[:, :, packed : store.packed_length]) for x in side.packed)
        raw = side.raw[:, :, count - packed : store.raw_length]
        return Side(mx.contiguous(raw), side.codec, Packed(codes, scales))

    left.sides = (without(store.sides[0]), without(store.sides[1]))
    return left


def rolled(store: Store, shifts: mx.array) -> Store:
    """Return a store whose sequences are moved to the right, each by its own number of columns."""
    moved = store.copy()
    moved.compress(
        0 if store.packed_length else store.raw_length
    )  # a roll needs one kind of column
    if moved.sides is None:
        return moved

    def roll(x: mx.array, length: int) -> mx.array:
        turned: mx.array = dynamic_roll(x[:, :, :length], shifts[:, None], axis=2)
        return turned

    def side(old: Side) -> Side:
        if old.codec is None or old.packed is None:
            return replace(old, raw=roll(old.raw, moved.length))
        if not moved.packed_length:
            return replace(old, raw=roll(old.raw, moved.raw_length))
        codes, scales = (roll(x, moved.packed_length) for x in old.packed)
        return replace(old, packed=Packed(codes, scales))

    moved.sides = (side(moved.sides[0]), side(moved.sides[1]))
    return moved


def _opened(store: Store, like: Store, batch: int, settings: Settings) -> Store:
    """Return a copy that has buffers, and no first tokens set apart."""
    opened = store.copy()
    opened.settings = settings
    if store.sides is None and like.sides is not None:
        blank = partial(_blank, batch=batch)
        opened.sides = _each_side(like.sides, blank, blank)
    elif store.sides is not None and store.packed_length and store.first_length:
        first = slice(0, store.first_length)
        keys, values = store.sides
        opened.sides = (
            _first_packed(keys, store, encode(keys, first, store.mean)),
            _first_packed(values, store, encode(values, first, None)),
        )
        opened.packed_length += store.first_length
        opened.raw_length -= store.first_length
    return opened


def _blank(x: mx.array, batch: int) -> mx.array:
    return mx.zeros((batch, x.shape[1], 0, *x.shape[3:]), dtype=x.dtype)


def _first_packed(side: Side, store: Store, first: Packed | None) -> Side:
    if first is None or side.packed is None:
        return side
    held = [x[:, :, : store.packed_length] for x in side.packed]
    codes, scales = (mx.concatenate([*pair], axis=2) for pair in zip(first, held, strict=True))
    raw = side.raw[:, :, store.first_length : store.raw_length]
    return Side(raw, side.codec, Packed(codes, scales))


def _justified(store: Store, which: int, joined: Store) -> Side:
    """Bring one side to the joined lengths by room on the left."""
    assert store.sides is not None  # noqa: S101  `_opened` saw to it
    side = store.sides[which]
    if side.codec is None or side.packed is None:
        return replace(side, raw=_to_the_right(side.raw, store.length, joined.length))
    codes, scales = (
        _to_the_right(x, store.packed_length, joined.packed_length) for x in side.packed
    )
    raw = _to_the_right(side.raw, store.raw_length, joined.raw_length)
    return Side(raw, side.codec, Packed(codes, scales))


def _to_the_right(x: mx.array, length: int, size: int) -> mx.array:
    room = [(0, 0), (0, 0), (size - length, 0), (0, 0)]
    return mx.pad(x[:, :, :length], room[: x.ndim])


def _stacked(sides: Sequence[Side]) -> Side:
    raw = mx.concatenate([side.raw for side in sides])
    packed = [side.packed for side in sides if side.packed is not None]
    if not packed:
        return Side(raw, None, None)
    codes, scales = (mx.concatenate(list(arrays)) for arrays in zip(*packed, strict=True))
    return Side(raw, sides[0].codec, Packed(codes, scales))


def _each_side(sides: tuple[Side, Side], raw: _Change, packed: _Change) -> tuple[Side, Side]:
    keys, values = (
        Side(raw(s.raw), s.codec, None if s.packed is None else Packed(*map(packed, s.packed)))
        for s in sides
    )
    return keys, values


def _means(stores: Sequence[Store]) -> mx.array | None:
    """Return a key mean for every sequence: its own, that of its raw keys, or the others' average.

    Any constant is exact; one near the keys makes them cheap to quantise.
    """
    found = [_mean(store) for store in stores]
    known = [mean for mean in found if mean is not None]
    if not known:
        return None
    average = mx.mean(mx.concatenate(known), axis=0, keepdims=True)
    sizes = [store.sides[0].raw.shape[0] for store in stores if store.sides is not None]
    return mx.concatenate(
        [
            mx.repeat(average, size, axis=0) if mean is None else mean
            for mean, size in zip(found, sizes, strict=True)
        ]
    )


def _mean(store: Store) -> mx.array | None:
    if store.mean is not None or store.sides is None or not store.raw_length:
        return store.mean
    return store.key_mean(store.sides[0], slice(0, store.raw_length))
