"""The buffers of one layer: append, compress, trim, for one sequence or for many of a batch."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import mlx.core as mx

from .codec import Packed, ScaleRule, codec
from .fused import LONGEST_QUERY, enabled
from .layout import Layout
from .leaving import Left, leaving
from .packing import words
from .refusal import NotFiniteError, Pass, note
from .settings import KEY_SCALE, VALUE_SCALE, Settings
from .view import Centre, Side, View

__all__ = ["NotFiniteError", "Store"]

_STEP = 256


class Before(NamedTuple):
    """A store's raw rows, layout and centre before a step; its codes are only added to."""

    raw: tuple[mx.array, ...] | None
    layout: Layout
    centre: Centre | None
    decoding: bool


class Store:
    """Packed tokens, and raw ones before them (``first_tokens``) and after them (the tail).

    A change is prepared whole before a field is assigned: an exception leaves the store as it was.

    Attributes
    ----------
    sides
        Buffers of keys and of values; None before the first tokens.
    layout
        Which columns are whose. Of a padded layout the sequences are not looked at for NaN and
        infinity: what is bad stays with its sequence, as in mlx-lm's cache.
    centre
        What was taken from the packed keys.
    noted
        The step whose numbers are still to be looked at, see `refusal`.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        # The raw rows that fill a compressed side, and those that it has room for.
        self._full = settings.first_tokens + settings.tail_tokens
        self._capacity = self._full + LONGEST_QUERY - 1
        self.sides: tuple[Side, Side] | None = None
        self.layout = Layout()
        self.centre: Centre | None = None
        self.noted: Pass | None = None
        # What the newest tokens found each time that they made others leave the tail.
        self._undo: tuple[Before, ...] = ()

    @property
    def length(self) -> int:
        return self.layout.columns

    @property
    def packed_length(self) -> int:
        return self.layout.packed

    @property
    def raw_length(self) -> int:
        return self.layout.raw

    @property
    def arrays(self) -> list[mx.array]:
        """Return every buffer, whole."""
        found: list[mx.array] = [*(self.centre or ())]
        for side in self.sides or ():
            found += [side.raw, *(side.packed.arrays if side.packed else ())]
        return found

    def copy(self) -> Store:
        """Return a store of its own lengths that shares the buffers until either changes."""
        self.settle()
        copied = Store(self.settings)
        vars(copied).update(vars(self))
        return copied

    def __deepcopy__(self, memo: dict[int, object]) -> Store:
        return self.copy()

    def append(self, keys: mx.array, values: mx.array) -> View:
        """Store new tokens [B, H, L, dim] and return what their queries see."""
        if self.noted is not None:
            self._look(self.noted, keys.shape[2])
        self._undo = ()
        return self._append(keys, values)

    def _append(self, keys: mx.array, values: mx.array) -> View:
        """Do what `append` does; it may be called several times for a step."""
        sides = self._open(keys, values)
        new = keys.shape[2]
        if self._is_due(new):
            if self._is_chunk(new):
                return self._append_chunk(sides, keys, values)
            self._undo += (self.leave(sides, self.layout, self.settings.kept_tokens),)
            sides = self._open(keys, values)
        room = self._limit - self.layout.raw
        if room < new <= LONGEST_QUERY and self.layout.padding is None:
            return self._append_around(keys, values, room)
        self.sides = (self._grown(sides[0], keys), self._grown(sides[1], values))
        self.layout = self.layout.grown(new)
        return self.view()

    def _append_around(self, keys: mx.array, values: mx.array, room: int) -> View:
        """Store a few tokens amid which others leave the tail, as if they came one by one.

        So drafts that a speculating model has checked see what single tokens would see.
        """
        view = self._append(keys[:, :, :room], values[:, :, :room])
        return replace(view, then=(room, self._append(keys[:, :, room:], values[:, :, room:])))

    def seen(self, new: int) -> Layout:
        """Return the layout of what the queries of so many new tokens will see."""
        if self._is_chunk(new) or not self._is_due(new):
            return self.layout.grown(new)
        return self._left(self.layout, self.settings.kept_tokens).grown(new)

    def view(self) -> View:
        """Return what is stored; valid until the next change."""
        if self.sides is None:
            raise ValueError("an empty cache has no keys and values")
        return View(*self.sides, self.layout, self.centre)

    def trim(self, count: int) -> int:
        """Forget the newest tokens; returns how many there were to forget."""
        self.settle()
        count = min(count, self.layout.columns)
        for before in reversed(self._undo):
            if before.layout.columns < self.layout.columns - count:
                break
            self._back(before)  # what made tokens leave the tail is taken back
        self._undo = ()
        self.layout = self.layout.trimmed(count)
        if not self.layout.packed and self.layout.padding is None:
            self.centre = None
        return count

    def compress(self, kept: int) -> None:
        """Pack all tokens but the first ones and the ``kept`` newest."""
        self.settle()
        if self.sides is not None and self.layout.tail > kept:
            self._pack(self.sides, self.layout, kept)

    def settle(self) -> None:
        """See to it that what was packed is finite.

        Raises
        ------
        NotFiniteError
            If it is not; all layers of the model are then as they were before it.
        """
        if self.noted is not None:
            self.noted.settle()

    def _look(self, noted: Pass, new: int) -> None:
        """Look at the step before that of new tokens.

        Amid decoding a GPU is given one step to finish it, but where that packs tokens itself.
        """
        amid = enabled() and noted.step[1] == noted.step[0]
        if amid and not noted.launched and self.layout.raw + new <= self._limit:
            noted.launch()
        else:
            noted.settle()

    def _is_due(self, new: int) -> bool:
        """Tell whether tokens must leave the tail before so many new ones come.

        Of a few new ones the number does not count: they leave amid them, see `_append_around`.
        """
        few = new <= LONGEST_QUERY
        return self.layout.raw >= self._limit if few else self.layout.raw + new > self._limit

    @property
    def _limit(self) -> int:
        return self._full if self.layout.packed else max(self._full, self.settings.compress_from)

    def _is_chunk(self, new: int) -> bool:
        room = self.settings.tail_tokens - self.settings.kept_tokens
        return new > max(room, LONGEST_QUERY)

    def _left(self, layout: Layout, kept: int) -> Layout:
        """Return the layout after tokens left the tail; the same if none would be packed."""
        after = layout.left(kept, self.settings.first_tokens)
        return after if after.packed > layout.packed else layout

    def _open(self, keys: mx.array, values: mx.array) -> tuple[Side, Side]:
        """Return the buffers, empty ones at the very first tokens, that new tokens must fit."""
        bits, seed = (self.settings.key_bits, self.settings.value_bits), self.settings.seed
        if self.sides is None:
            return (
                _empty(keys, bits[0], seed, KEY_SCALE, along=self.settings.centred),
                _empty(values, bits[1], seed, VALUE_SCALE, along=False),
            )
        for side, new in zip(self.sides, (keys, values), strict=True):
            batch, heads, _, dim = side.raw.shape
            if new.shape != (batch, heads, new.shape[2], dim) or side.raw.dtype != new.dtype:
                raise ValueError(
                    f"keys or values of {new.shape}, {new.dtype} do not fit a cache of "
                    f"{(batch, heads, 'tokens', dim)}, {side.raw.dtype}"
                )
        return self.sides

    def _append_chunk(self, sides: tuple[Side, Side], keys: mx.array, values: mx.array) -> View:
        """Take in many tokens: their own queries see them raw, and only the tail stays so."""
        before, centre = self.layout.grown(keys.shape[2]), self.centre
        raw = (self._joined(sides[0], keys), self._joined(sides[1], values))
        self._pack(raw, before, self.settings.kept_tokens)
        packed = self.sides or raw
        # The new buffers of codes hold the old codes too.
        seen = [replace(a, packed=b.packed) for a, b in zip(raw, packed, strict=True)]
        return View(seen[0], seen[1], before, centre if before.packed else None)

    def _grown(self, side: Side, new: mx.array) -> Side:
        # Made anew, as `replace` takes twice as long and this runs for each layer and token.
        if side.codec is None:
            return Side(_write(side.raw, new, self.layout.columns, _STEP), None, None)
        raw = _write(side.raw, new, self.layout.raw, self._capacity)
        return Side(raw, side.codec, side.packed)

    def _joined(self, side: Side, new: mx.array) -> Side:
        if side.codec is None:
            return self._grown(side, new)
        return replace(side, raw=mx.concatenate([side.raw[:, :, : self.layout.raw], new], axis=2))

    def _pack(self, sides: tuple[Side, Side], layout: Layout, kept: int) -> Before | None:
        """Let tokens of a layout leave the tail, if any of them would be packed."""
        if self._left(layout, kept).packed == layout.packed:
            return None
        return self.leave(sides, layout, kept)

    def leave(self, sides: tuple[Side, Side], layout: Layout, kept: int) -> Before:
        """Let all but the ``kept`` newest tokens leave the tail; the sides hold a whole layout.

        Returns the way back.
        """
        old = Before(
            None if self.sides is None else tuple(side.raw for side in self.sides),
            self.layout,
            self.centre,
            decoding=layout is self.layout,
        )
        first, centred = self.settings.first_tokens, self.settings.centred
        left = leaving(sides, layout, self.centre, kept, first, centred=centred)
        self.sides = (
            self._replaced(sides[0], left, 0, layout.packed),
            self._replaced(sides[1], left, 1, layout.packed),
        )
        self.layout, self.centre = left.layout, left.centre
        if layout.padding is None:
            self._note(
                old, (old.layout.columns, layout.columns, kept), _finite(sides, layout, left)
            )
        return old

    def _note(self, old: Before, step: tuple[int, int, int], finite: mx.array) -> None:
        if self.noted is None:
            note(self, step, finite, old)
        else:  # the way back from an earlier compression of the same step goes further
            self.noted.finite.append(finite)

    def go_back(self, before: Before) -> None:
        """Be again what it was, with the tokens that came to the tail since, if it was decoding."""
        for later in reversed(self._undo):
            if later is before:
                break
            self._back(later)
        self._undo = ()
        self._back(before)

    def _back(self, before: Before) -> None:
        now, layout = self.sides, before.layout
        if before.raw is None or now is None:
            self.sides, self.layout, self.centre = None, Layout(), None
            return
        came = max(self.layout.columns - layout.columns, 0) if before.decoding else 0
        new = slice(self.layout.raw - came, self.layout.raw)

        def side(current: Side, old: mx.array) -> Side:
            if current.codec is None:  # its columns were only added to
                return current
            raw = mx.concatenate([old[:, :, : layout.raw], current.raw[:, :, new]], axis=2)
            return replace(current, raw=raw)

        self.sides = (side(now[0], before.raw[0]), side(now[1], before.raw[1]))
        self.layout, self.centre = layout.grown(came), before.centre

    def _replaced(self, side: Side, left: Left, which: int, at: int) -> Side:
        new = left.new[which]
        if side.packed is None:
            return replace(side, raw=left.raw[which])
        raw = padded(left.raw[which], self._capacity)
        if new is None:
            return replace(side, raw=raw)
        fresh = zip(side.packed.arrays, new.arrays, strict=True)
        packed = Packed(*(_write(old, more, at, _STEP) for old, more in fresh))
        return Side(raw, side.codec, packed)


def _empty(like: mx.array, bits: int, seed: int, scale_rule: ScaleRule, *, along: bool) -> Side:
    batch, heads, _, dim = like.shape
    raw = mx.zeros((batch, heads, 0, dim), dtype=like.dtype)
    if not bits:
        return Side(raw, None, None)
    codes = mx.zeros((batch, heads, 0, words(dim, bits)), dtype=mx.uint32)
    halves = mx.zeros((batch, heads, 0), dtype=mx.float16)
    coder = codec(dim, bits, seed, scale_rule)
    return Side(raw, coder, Packed(codes, halves, halves if along else None))


def _finite(sides: tuple[Side, Side], layout: Layout, left: Left) -> mx.array:
    """Return whether all that is new is finite: as scales where it was packed, else as it is."""
    parts = []
    for side, new, raw in zip(sides, left.new, left.raw, strict=True):
        if new is None:
            parts.append(side.raw[:, :, layout.packed + layout.first : layout.columns])
        else:
            parts += [raw, *new.arrays[1:]]
    return mx.all(mx.stack([mx.all(mx.isfinite(x)) for x in parts]))


def _write(buffer: mx.array, new: mx.array, at: int, step: int) -> mx.array:
    """Put tokens at a place of axis 2, after growing the buffer by whole steps where it must.

    The array that was passed is left as it is, but MLX writes in place where nobody else holds it.
    """
    end = at + new.shape[2]
    if end > buffer.shape[2]:
        buffer = padded(buffer[:, :, :at], at + -(-new.shape[2] // step) * step)
    buffer = buffer[:]
    buffer[:, :, at:end] = new
    return buffer


def padded(x: mx.array, size: int) -> mx.array:
    """Fill axis 2 with zeros up to a size."""
    zeros = mx.zeros((*x.shape[:2], max(size - x.shape[2], 0), *x.shape[3:]), dtype=x.dtype)
    return mx.concatenate([x, zeros], axis=2)
