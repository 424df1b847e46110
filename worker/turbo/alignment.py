"""Stores of several sequences brought to one layout, sequences picked and moved, for batches.

Every sequence of a batch keeps its own first tokens raw, see `layout`. No function here changes
the stores that it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import mlx.core as mx
from mlx_lm.models.cache import dynamic_roll

from .codec import Packed
from .layout import Layout
from .settings import Settings
from .store import Store
from .view import Centre, Side


def aligned(stores: Sequence[Store], settings: Settings) -> Store:
    """Put the sequences of all stores into one, padded.

    Its tail is as long as in the store that keeps the fewest raw tokens after packed ones; the
    others pack what they have beyond it.
    """
    parts = [_counted(store) for store in stores]
    joined = Store(settings)
    filled = [part.sides for part in parts if part.sides is not None]
    if not filled:
        paddings = [part.layout.padding for part in parts if part.layout.padding is not None]
        joined.layout = Layout(padding=mx.concatenate(paddings))
        return joined
    for part in parts:
        if part.sides is None:
            part.sides = _blank(filled[0], _sequences(part))
    layout = _common([part.layout for part in parts], settings.first_tokens)
    for part in parts:
        if part.layout.tail > layout.tail or 0 < part.layout.first < layout.first:
            _leave(part, min(layout.tail, part.layout.tail))
    packed = max(part.layout.packed for part in parts)
    layout = layout._replace(packed=packed)
    joined.sides = (_stacked(parts, 0, layout), _stacked(parts, 1, layout))
    joined.centre = _centres(parts)
    counts = mx.concatenate([_counts(part) for part in parts])
    joined.layout = layout._replace(padding=layout.columns - counts)
    return joined


def selected(store: Store, sequences: mx.array) -> Store:
    """Return a store of some sequences of the batch."""
    chosen = store.copy()
    if store.sides is not None:
        chosen.sides = _each(store.sides, lambda x: x[sequences])
    if store.centre is not None:
        chosen.centre = Centre(*(x[sequences] for x in store.centre))
    if store.layout.padding is not None:
        chosen.layout = store.layout._replace(padding=store.layout.padding[sequences])
    return chosen


def tightened(store: Store) -> Store:
    """Return a padded store without the columns that no sequence uses."""
    longest = max(_listed(store))
    old = store.layout
    after = old._replace(
        packed=min(old.packed, max(longest - old.tail - old.first, 0)),
        tail=min(old.tail, max(longest, 0)),
    )
    return _cut(store, after._replace(padding=after.columns - _counts(store)))


def alone(store: Store) -> Store:
    """Return a padded store of one sequence without its padding."""
    (count,), old = _listed(store), store.layout
    older = max(count - old.tail, 0)
    first = min(older, old.first)
    single = _cut(store, Layout(first, older - first, min(count, old.tail)))
    if not single.layout.packed:
        single.centre = None
    if not single.layout.columns:
        return Store(store.settings)
    return single


def rolled(store: Store, shifts: mx.array) -> Store:
    """Return a store whose sequences are moved to the right, each by its own number of columns."""
    moved = store.copy()
    if moved.sides is not None:
        if moved.layout.first or moved.layout.packed:  # a roll needs one kind of column
            _leave(moved, 0)
        moved.sides = (
            _rolled(moved.sides[0], moved.layout, shifts),
            _rolled(moved.sides[1], moved.layout, shifts),
        )
    padding = moved.layout.columns - _counts(moved) + shifts
    moved.layout = moved.layout._replace(padding=padding, ends=None)
    return moved


def _counted(store: Store) -> Store:
    """Return a copy with a padding; a single sequence has none."""
    counted = store.copy()
    if counted.layout.padding is None:
        batch = 1 if counted.sides is None else counted.sides[0].raw.shape[0]
        counted.layout = counted.layout._replace(padding=mx.zeros(batch, dtype=mx.int32))
    return counted


def _counts(store: Store) -> mx.array:
    counts = store.layout.counts
    if counts is None:
        raise ValueError("a store of a batch has a padding")
    return counts


def _listed(store: Store) -> list[int]:
    return [int(count) for count in _counts(store)]


def _sequences(store: Store) -> int:
    return _counts(store).size


def _common(layouts: Sequence[Layout], first_tokens: int) -> Layout:
    """Return first rows and tail that the layouts can share, none of them packed yet."""
    split = [layout.tail for layout in layouts if layout.first or layout.packed]
    if split:
        return Layout(first_tokens, 0, min(split))
    return Layout(0, 0, max(layout.tail for layout in layouts))


def _leave(store: Store, kept: int) -> None:
    if store.sides is not None and store.layout.tail + store.layout.first:
        store.leave(store.sides, store.layout, kept)


def _cut(store: Store, after: Layout) -> Store:
    """Keep the first rows from the left, everything else from the right, of what a layout has."""
    cut, before = store.copy(), store.layout
    cut.layout = after
    if store.sides is None:
        return cut

    def side(old: Side) -> Side:
        if old.codec is None or old.packed is None:
            stop, newer = before.columns, after.packed + after.tail
        else:
            stop, newer = before.raw, after.tail
        rows = [old.raw[:, :, : after.first], old.raw[:, :, stop - newer : stop]]
        raw = mx.contiguous(mx.concatenate(rows, axis=2))
        last = slice(before.packed - after.packed, before.packed)
        packed = old.packed and old.packed.each(lambda x: mx.contiguous(x[:, :, last]))
        return Side(raw, old.codec, packed)

    cut.sides = (side(store.sides[0]), side(store.sides[1]))
    return cut


def _rolled(side: Side, layout: Layout, shifts: mx.array) -> Side:
    def roll(x: mx.array, start: int, stop: int) -> mx.array:
        turned: mx.array = dynamic_roll(x[:, :, start:stop], shifts[:, None], axis=2)
        return turned

    if side.codec is None or side.packed is None or not layout.packed:
        stop = layout.columns if side.codec is None else layout.raw
        first = side.raw[:, :, : layout.first]
        return replace(
            side, raw=mx.concatenate([first, roll(side.raw, layout.first, stop)], axis=2)
        )
    return replace(side, packed=side.packed.each(lambda x: roll(x, 0, layout.packed)))


def _stacked(parts: Sequence[Store], which: int, layout: Layout) -> Side:
    """Bring one side of every store to a layout and put all sequences under each other."""
    sides = [_justified(part, which, layout) for part in parts]
    raw = mx.concatenate([side.raw for side in sides])
    packed = [side.packed.arrays for side in sides if side.packed is not None]
    if not packed:
        return Side(raw, None, None)
    joined = Packed(*(mx.concatenate(list(arrays)) for arrays in zip(*packed, strict=True)))
    return Side(raw, sides[0].codec, joined)


def _justified(part: Store, which: int, layout: Layout) -> Side:
    """Give one side the columns of a larger layout: first rows to the left, others to the right."""
    assert part.sides is not None  # noqa: S101  `aligned` saw to it
    side, old = part.sides[which], part.layout
    if side.codec is None or side.packed is None:
        newer, size = side.raw[:, :, old.first : old.columns], layout.packed + layout.tail
        packed = None
    else:
        newer, size = side.raw[:, :, old.first : old.raw], layout.tail
        held = side.packed.between(0, old.packed)
        packed = held.each(lambda x: _roomy(x, layout.packed - old.packed, 0))
    first = _roomy(side.raw[:, :, : old.first], 0, layout.first - old.first)
    raw = mx.concatenate([first, _roomy(newer, size - newer.shape[2], 0)], axis=2)
    return Side(raw, side.codec, packed)


def _roomy(x: mx.array, left: int, right: int) -> mx.array:
    room = [(0, 0), (0, 0), (left, right), (0, 0)]
    return mx.pad(x, room[: x.ndim])


def _blank(like: tuple[Side, Side], batch: int) -> tuple[Side, Side]:
    return _each(like, lambda x: mx.zeros((batch, x.shape[1], 0, *x.shape[3:]), dtype=x.dtype))


def _each(sides: tuple[Side, Side], change: Callable[[mx.array], mx.array]) -> tuple[Side, Side]:
    keys, values = (
        Side(change(side.raw), side.codec, side.packed and side.packed.each(change))
        for side in sides
    )
    return keys, values


def _centres(parts: Sequence[Store]) -> Centre | None:
    """Return every sequence's own centre; zero where it has none yet."""
    known = [part.centre for part in parts if part.centre is not None]
    if not known:
        return None
    found = []
    for part in parts:
        shape = (_sequences(part), *known[0].mean.shape[1:])
        found.append(part.centre or Centre(mx.zeros(shape), mx.zeros(shape)))
    return Centre(*(mx.concatenate(list(arrays)) for arrays in zip(*found, strict=True)))
