"""The buffers of one layer: append, compress, trim. Every sequence of a batch has one length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import mlx.core as mx
import numpy as np

from .codec import Packed, ScaleRule, codec
from .fused import enabled
from .fused_codec import fused_encode
from .packing import words
from .settings import KEY_SCALE, VALUE_SCALE, Settings
from .view import Side, View

_STEP = 256


class NotFiniteError(ValueError):
    """Keys or values hold NaN, infinity or a norm beyond fp16; nothing of them was stored."""


class Store:
    """Packed tokens, and raw ones before them (``first_tokens``) and after them (the tail).

    A change is prepared whole and checked before any field is assigned: an exception leaves the
    store as it was.

    Attributes
    ----------
    sides
        Buffers of keys and of values; None before the first tokens.
    mean
        What was subtracted from the packed keys, see `View`.
    packed_length, raw_length
        Tokens held as codes, and as raw rows.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        # The raw rows that a compressed side has room for.
        self._capacity = settings.first_tokens + settings.tail_tokens
        self.sides: tuple[Side, Side] | None = None
        self.mean: mx.array | None = None
        self.packed_length = 0
        self.raw_length = 0
        self._unchecked: list[mx.array] = []

    @property
    def length(self) -> int:
        return self.packed_length + self.raw_length

    @property
    def first_length(self) -> int:
        return min(self.settings.first_tokens, self.raw_length)

    @property
    def arrays(self) -> list[mx.array]:
        """Return every buffer, whole."""
        found = [] if self.mean is None else [self.mean]
        for side in self.sides or ():
            found += [side.raw, *(side.packed or ())]
        return found

    def copy(self) -> Store:
        """Return a store of its own lengths that shares the buffers until either changes."""
        copied = Store(self.settings)
        vars(copied).update(vars(self))
        return copied

    def append(self, keys: mx.array, values: mx.array) -> View:
        """Store new tokens [B, H, L, dim] and return what their queries see."""
        sides = self._open(keys, values)
        new = keys.shape[2]
        if self.raw_length + new > self._raw_limit:
            if new > self.settings.tail_tokens - self.settings.kept_tokens:
                return self._append_chunk(sides, keys, values)
            self.compress(self.settings.kept_tokens)
            sides = self._open(keys, values)
        self.sides = (self._grown(sides[0], keys), self._grown(sides[1], values))
        self.raw_length += new
        return self.view()

    def view(self) -> View:
        """Return what is stored; valid until the next change."""
        if self.sides is None:
            raise ValueError("an empty cache has no keys and values")
        tail = self.raw_length - self.first_length
        return View(*self.sides, self.packed_length, self.first_length, tail, self.mean)

    def trim(self, count: int) -> int:
        """Forget the newest tokens; returns how many there were to forget."""
        count = min(count, self.length)
        tail = self.raw_length - self.first_length
        packed = min(max(count - tail, 0), self.packed_length)
        self.packed_length -= packed
        self.raw_length -= count - packed
        if not self.packed_length:
            self.mean = None
        return count

    def compress(self, kept: int) -> None:
        """Pack all tokens but the first ones and the ``kept`` newest."""
        if self.sides is not None and self.raw_length - self.first_length > kept:
            self._pack(self.sides, self.raw_length, kept, ())

    @property
    def _raw_limit(self) -> int:
        return (
            self._capacity
            if self.packed_length
            else max(self._capacity, self.settings.compress_from)
        )

    def _open(self, keys: mx.array, values: mx.array) -> tuple[Side, Side]:
        """Return the buffers, empty ones at the very first tokens, that new tokens must fit."""
        bits, seed = (self.settings.key_bits, self.settings.value_bits), self.settings.seed
        if self.sides is None:
            return (
                _empty(keys, bits[0], seed, KEY_SCALE),
                _empty(values, bits[1], seed, VALUE_SCALE),
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
        before, rows = self.packed_length, self.raw_length + keys.shape[2]
        raw = (self._joined(sides[0], keys), self._joined(sides[1], values))
        packed = self._pack(raw, rows, self.settings.kept_tokens, (keys, values))
        first = min(self.settings.first_tokens, rows)
        seen = [replace(a, packed=b.packed) for a, b in zip(raw, packed, strict=True)]
        return View(seen[0], seen[1], before, first, rows - first, self.mean if before else None)

    def _grown(self, side: Side, new: mx.array) -> Side:
        # Made anew, as `replace` takes twice as long and this runs for each layer and token.
        if side.codec is None:
            return Side(_write(side.raw, new, self.length, _STEP), None, None)
        raw = _write(side.raw, new, self.raw_length, self._capacity)
        return Side(raw, side.codec, side.packed)

    def _joined(self, side: Side, new: mx.array) -> Side:
        if side.codec is None:
            return self._grown(side, new)
        return replace(side, raw=mx.concatenate([side.raw[:, :, : self.raw_length], new], axis=2))

    def _pack(
        self, sides: tuple[Side, Side], rows: int, kept: int, checked: Sequence[mx.array]
    ) -> tuple[Side, Side]:
        """Replace the middle of ``rows`` raw tokens by codes, on each side that has a codec."""
        keys, values = sides
        middle = slice(min(self.settings.first_tokens, rows), rows - kept)
        mean = self.key_mean(keys, middle)
        codes = (encode(keys, middle, mean), encode(values, middle, None))
        scales = [new.scales for new in codes if new is not None]
        if checked or not enabled():
            _require_finite([*checked, *scales])
        else:
            self._require_finite_soon(scales)
        self.sides = (
            self._replaced(keys, codes[0], middle, rows),
            self._replaced(values, codes[1], middle, rows),
        )
        self.mean = mean
        self.packed_length += middle.stop - middle.start
        self.raw_length = rows - (middle.stop - middle.start)
        return self.sides

    def _require_finite_soon(self, scales: Sequence[mx.array]) -> None:
        """Look at the batch before this one, which is done: amid decoding a GPU must not wait."""
        if not all(np.isfinite(np.array(each)).all() for each in self._unchecked):
            raise NotFiniteError("keys or values packed before hold NaN, infinity or a large norm")
        self._unchecked = list(scales)

    def key_mean(self, keys: Side, rows: slice) -> mx.array | None:
        """Return the mean that keys are centred by: that in use, or one of some raw rows."""
        if self.mean is not None or keys.codec is None or self.settings.key_centring == "none":
            return self.mean
        return mx.mean(keys.raw[:, :, rows].astype(mx.float32), axis=2)

    def _replaced(self, side: Side, new: Packed | None, middle: slice, rows: int) -> Side:
        if new is None or side.packed is None:
            return side
        codes = _write(side.packed.codes, new.codes, self.packed_length, _STEP)
        scales = _write(side.packed.scales, new.scales, self.packed_length, _STEP)
        kept = side.raw[:, :, middle.stop : rows]
        if side.raw.shape[2] == self._capacity and kept.shape[2]:
            raw = _write(side.raw, kept, middle.start, self._capacity)
        else:
            left = [side.raw[:, :, : middle.start], kept]
            raw = _padded(mx.concatenate(left, axis=2), self._capacity)
        return Side(raw, side.codec, Packed(codes, scales))


def _empty(like: mx.array, bits: int, seed: int, scale_rule: ScaleRule) -> Side:
    batch, heads, _, dim = like.shape
    raw = mx.zeros((batch, heads, 0, dim), dtype=like.dtype)
    if not bits:
        return Side(raw, None, None)
    codes = mx.zeros((batch, heads, 0, words(dim, bits)), dtype=mx.uint32)
    scales = mx.zeros((batch, heads, 0), dtype=mx.float16)
    return Side(raw, codec(dim, bits, seed, scale_rule), Packed(codes, scales))


def encode(side: Side, rows: slice, mean: mx.array | None) -> Packed | None:
    """Pack some raw rows of a side, centred if a mean is given; None if it has no codec."""
    if side.codec is None:
        return None
    vectors = side.raw[:, :, rows]
    fused = fused_encode(side.codec, vectors, mean) if enabled() else None
    if fused is not None:
        return fused
    return side.codec.encode(vectors if mean is None else vectors - mean[:, :, None])


def _require_finite(arrays: Sequence[mx.array]) -> None:
    if not mx.all(mx.stack([mx.all(mx.isfinite(a)) for a in arrays])).item():
        raise NotFiniteError("keys or values hold NaN, infinity or a norm beyond fp16")


def _write(buffer: mx.array, new: mx.array, at: int, step: int) -> mx.array:
    """Put tokens at a place of axis 2, after growing the buffer by whole steps where it must.

    The array that was passed is left as it is, but MLX writes in place where nobody else holds it.
    """
    end = at + new.shape[2]
    if end > buffer.shape[2]:
        buffer = _padded(buffer[:, :, :at], at + -(-new.shape[2] // step) * step)
    buffer = buffer[:]
    buffer[:, :, at:end] = new
    return buffer


def _padded(x: mx.array, size: int) -> mx.array:
    """Fill axis 2 with zeros up to a size."""
    zeros = mx.zeros((*x.shape[:2], max(size - x.shape[2], 0), *x.shape[3:]), dtype=x.dtype)
    return mx.concatenate([x, zeros], axis=2)
