"""Vectors to packed codes and back: normalise, rotate, quantise each coordinate, keep one scale.

``x ~ scale * R^T c[codes]``, with one fp16 scale a vector. What the scale is chosen for differs for
keys and for values: README.md has the tables that decide, from `worker/bench/turbo_settings.py`.

Along one direction u, given as its rotation ``d = R u``, a vector may stay exact: its part along u
is taken off before quantisation, and one more fp16 number says what the decoded vector lacks of it.
``R x ~ scale * c[codes] + along * d`` then has the right product with d to fp16's precision.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

import mlx.core as mx
import numpy as np

from .codebook import codebook
from .packing import pack, unpack, words
from .rotation import Rotation, rotation

ScaleRule = Literal["unbiased", "least_squares", "matched_norm", "raw_norm"]

_FEW_LEVELS = 16
_MOST_CELLS = 1 << 14
_CLEARANCE = 1e-4  # of a cell: more than float32 rounds
_PAIR = {mx.float32: mx.uint64, mx.float16: mx.uint32, mx.bfloat16: mx.uint32}


class Packed(NamedTuple):
    """Vectors as the cache holds them: codes uint32 [..., words], scales fp16 [...].

    ``along``, fp16 [...], belongs to vectors that keep their part along a direction.
    """

    codes: mx.array
    scales: mx.array
    along: mx.array | None = None

    def each(self, change: Callable[[mx.array], mx.array]) -> Packed:
        """Return these with every array changed."""
        along = None if self.along is None else change(self.along)
        return Packed(change(self.codes), change(self.scales), along)

    def between(self, start: int, stop: int) -> Packed:
        """Return the vectors between two places of axis 2."""
        return self.each(lambda x: x[:, :, start:stop])

    @property
    def arrays(self) -> list[mx.array]:
        return [x for x in self if x is not None]


@dataclass(frozen=True, eq=False)
class Codec:
    """The quantiser of vectors of one dimension at one number of bits.

    Attributes
    ----------
    centroids
        float32 [2**bits], at the scale of a unit vector.
    boundaries
        float32 [2**bits - 1] between them.
    """

    dim: int
    bits: int
    scale_rule: ScaleRule
    rotation: Rotation
    centroids: mx.array
    boundaries: mx.array
    _cells: _CellTable | None
    _tables: dict[mx.Dtype, mx.array]

    def encode(self, x: mx.array, direction: mx.array | None = None) -> Packed:
        """Pack vectors [..., dim] of any float dtype.

        A vector that holds NaN or infinity gets a scale that is not finite.

        Parameters
        ----------
        direction
            Rotated unit vectors that broadcast to [..., dim], or zero where there is none.
        """
        y = self.rotation.rotate(x)
        if direction is not None:
            held = mx.sum(y * direction, axis=-1, keepdims=True)
            y = y - held * direction
        norm = mx.linalg.norm(y, axis=-1, keepdims=True)
        unit = y / mx.maximum(norm, 1e-30)
        codes = self._quantise(unit)
        scales = (norm[..., 0] * self._gain(unit, codes)).astype(mx.float16)
        if direction is None:
            return Packed(pack(codes, self.bits), scales)
        there = mx.sum(_found(self.centroids, codes) * direction, axis=-1) * scales
        return Packed(pack(codes, self.bits), scales, (held[..., 0] - there).astype(mx.float16))

    def decode(self, packed: Packed, direction: mx.array | None = None) -> mx.array:
        """Return the vectors [..., dim] in float32; the direction is that of `encode`."""
        return self.rotation.unrotate(self.decode_rotated(packed, direction))

    def decode_rotated(
        self, packed: Packed, direction: mx.array | None = None, dtype: mx.Dtype = mx.float32
    ) -> mx.array:
        """Return the vectors [..., dim], still in the rotated space."""
        found = self.levels(packed.codes, dtype) * packed.scales.astype(dtype)[..., None]
        if packed.along is None or direction is None:
            return found
        return found + packed.along.astype(dtype)[..., None] * direction.astype(dtype)

    def levels(self, codes: mx.array, dtype: mx.Dtype = mx.float32) -> mx.array:
        """Return the level of every code, [..., dim], without the scale."""
        table = self._table(dtype)
        if self._paired:  # one look-up for two codes
            return _found(table, unpack(codes, 2 * self.bits, self.dim // 2)).view(dtype)
        return _found(table, unpack(codes, self.bits, self.dim))

    def __deepcopy__(self, memo: dict[int, object]) -> Codec:
        """Return itself: all caches share it."""
        return self

    @property
    def nbytes_per_vector(self) -> int:
        """Bytes that one vector occupies, scale included."""
        return 4 * words(self.dim, self.bits) + 2

    @property
    def _paired(self) -> bool:
        return len(self.centroids) <= _FEW_LEVELS

    def _table(self, dtype: mx.Dtype) -> mx.array:
        if dtype not in self._tables:
            made = self.centroids.astype(dtype)
            if self._paired:
                count = made.size
                pairs = mx.stack([mx.tile(made, count), mx.repeat(made, count)], axis=-1)
                made = pairs.view(_PAIR[dtype]).reshape(-1)
            mx.eval(made)  # a lazy array belongs to the thread that made it
            self._tables[dtype] = made
        return self._tables[dtype]

    def _quantise(self, unit: mx.array) -> mx.array:
        if self._cells is not None:
            return self._cells.quantise(unit, self.boundaries)
        codes = mx.zeros(unit.shape, dtype=mx.uint8)
        for boundary in self.boundaries:
            codes = codes + (unit > boundary)
        return codes

    def _gain(self, unit: mx.array, codes: mx.array) -> mx.array | float:
        """Scale over norm, so that what `scale_rule` promises holds for this very vector."""
        if self.scale_rule == "raw_norm":
            return 1.0
        level = _found(self.centroids, codes)
        square = mx.sum(level * level, axis=-1)
        if self.scale_rule == "matched_norm":
            return mx.rsqrt(square)
        product = mx.maximum(mx.sum(unit * level, axis=-1), 1e-30)
        return product / square if self.scale_rule == "least_squares" else 1 / product


def _found(table: mx.array, index: mx.array) -> mx.array:
    """Return the table's elements at an index of any shape.

    On a CPU MLX's `take` copies one slice at a time, which takes eight times as long.
    """
    return mx.take_along_axis(table, index.reshape(-1), axis=0).reshape(index.shape)


@dataclass(frozen=True)
class _CellTable:
    """A uniform grid with at most one boundary a cell: two look-ups replace 255 comparisons."""

    low: float
    per_unit: float
    below: mx.array

    def quantise(self, unit: mx.array, boundaries: mx.array) -> mx.array:
        place = (unit - self.low) * self.per_unit
        place = mx.where(place > 0, mx.minimum(place, self.below.size - 1), 0)  # NaN is no index
        code = _found(self.below, place.astype(mx.uint32))
        last = boundaries.size - 1
        beyond = unit > _found(boundaries, mx.minimum(code, last))
        return code + (beyond & (code <= last))


@lru_cache(maxsize=64)
def codec(dim: int, bits: int, seed: int, scale_rule: ScaleRule) -> Codec:
    """Return the quantiser; it is built once and shared by all layers and threads."""
    book = codebook(dim, bits)
    centroids, boundaries = mx.array(book.centroids), mx.array(book.boundaries)
    cells = _cell_table(book.boundaries) if len(book.centroids) > _FEW_LEVELS else None
    mx.eval(centroids, boundaries, *([] if cells is None else [cells.below]))
    return Codec(
        dim=dim,
        bits=bits,
        scale_rule=scale_rule,
        rotation=rotation(dim, seed),
        centroids=centroids,
        boundaries=boundaries,
        _cells=cells,
        _tables={},
    )


def _cell_table(boundaries: np.ndarray) -> _CellTable:
    """Find the coarsest grid that separates the boundaries, each well inside its cell."""
    low = float(boundaries[0]) * 1.01
    for cells in range(len(boundaries), _MOST_CELLS):
        per_unit = cells / (-2 * low)
        place = (boundaries.astype(np.float64) - low) * per_unit
        inside = np.abs(place - np.round(place)).min() > _CLEARANCE
        if inside and np.diff(np.floor(place)).min() >= 1:
            below = np.searchsorted(np.floor(place), np.arange(cells))
            return _CellTable(low, per_unit, mx.array(below.astype(np.uint32)))
    raise ArithmeticError(f"no grid of {_MOST_CELLS} cells separates {len(boundaries)} boundaries")
