"""Vectors to packed codes and back: normalise, rotate, quantise each coordinate, keep one scale.

``x ~ scale * R^T c[codes]``, with one fp16 scale a vector. What the scale is chosen for differs:
keys meet queries in inner products, values are summed. `worker/turbo/README.md` has the table that
decides; `worker/turbo/bench/codec.py` and `scales.py` print it.
"""

from __future__ import annotations

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


class Packed(NamedTuple):
    """Vectors as the cache holds them: codes uint32 [..., words], scales fp16 [...]."""

    codes: mx.array
    scales: mx.array


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
    _pairs: mx.array

    def encode(self, x: mx.array) -> Packed:
        """Pack vectors [..., dim] of any float dtype.

        A vector that holds NaN or infinity gets a scale that is not finite.
        """
        y = self.rotation.rotate(x)
        norm = mx.linalg.norm(y, axis=-1, keepdims=True)
        unit = y / mx.maximum(norm, 1e-30)
        codes = self._quantise(unit)
        return Packed(
            pack(codes, self.bits), (norm[..., 0] * self._gain(unit, codes)).astype(mx.float16)
        )

    def decode(self, packed: Packed) -> mx.array:
        """Return the vectors [..., dim] in float32."""
        return self.rotation.unrotate(self.decode_rotated(packed))

    def decode_rotated(self, packed: Packed) -> mx.array:
        """Return the vectors [..., dim] in float32, still in the rotated space."""
        return self.levels(packed.codes) * packed.scales[..., None]

    def levels(self, codes: mx.array) -> mx.array:
        """Return the centroid of every code, float32 [..., dim], without the scale."""
        pairs = mx.take(self._pairs, unpack(codes, 2 * self.bits, self.dim // 2))
        return pairs.view(mx.float32)

    def __deepcopy__(self, memo: dict[int, object]) -> Codec:
        """Return itself: all caches share it."""
        return self

    @property
    def nbytes_per_vector(self) -> int:
        """Bytes that one vector occupies, scale included."""
        return 4 * words(self.dim, self.bits) + 2

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
        level = mx.take(self.centroids, codes)
        square = mx.sum(level * level, axis=-1)
        if self.scale_rule == "matched_norm":
            return mx.rsqrt(square)
        product = mx.maximum(mx.sum(unit * level, axis=-1), 1e-30)
        return product / square if self.scale_rule == "least_squares" else 1 / product


@dataclass(frozen=True)
class _CellTable:
    """A uniform grid with at most one boundary a cell: two look-ups replace 255 comparisons."""

    low: float
    per_unit: float
    below: mx.array

    def quantise(self, unit: mx.array, boundaries: mx.array) -> mx.array:
        place = (unit - self.low) * self.per_unit
        place = mx.where(place > 0, mx.minimum(place, self.below.size - 1), 0)  # NaN is no index
        code = mx.take(self.below, place.astype(mx.uint32))
        last = boundaries.size - 1
        beyond = unit > mx.take(boundaries, mx.minimum(code, last))
        return code + (beyond & (code <= last))


@lru_cache(maxsize=64)
def codec(dim: int, bits: int, seed: int, scale_rule: ScaleRule) -> Codec:
    """Return the quantiser; it is built once and shared by all layers."""
    book = codebook(dim, bits)
    count = len(book.centroids)
    first, second = np.arange(count * count) % count, np.arange(count * count) // count
    pairs = np.stack([book.centroids[first], book.centroids[second]], axis=-1)
    return Codec(
        dim=dim,
        bits=bits,
        scale_rule=scale_rule,
        rotation=rotation(dim, seed),
        centroids=mx.array(book.centroids),
        boundaries=mx.array(book.boundaries),
        _cells=_cell_table(book.boundaries) if count > _FEW_LEVELS else None,
        _pairs=mx.array(pairs).view(mx.uint64).reshape(-1),
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
