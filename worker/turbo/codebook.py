"""Levels that are an odd polynomial of the code, for one coordinate of a random unit vector.

A coordinate of a vector that is uniform on the unit sphere of dimension ``d`` has the density
``f(y) ~ (1 - y^2)^((d - 3) / 2)`` on [-1, 1], of variance ``1 / d``. The best levels for it (Max,
IRE Trans. Inf. Theory 6(1), 1960; Lloyd, IEEE Trans. Inf. Theory 28(2), 1982) are all but a
polynomial of the code, and a polynomial costs a kernel a few multiplications where a table costs it
a look-up. So the polynomial is the codebook: with ``b`` bits, ``t = (2 code + 1 - 2^b) / 2^b`` and
``level = sum p_e t^e`` over a few odd exponents, fitted to each dimension for the least distortion
of a nearest-level quantiser, which comes within a quarter of a percent of the optimum.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

BITS = (2, 3, 4, 6, 8)
SMALLEST_DIMENSION = 8
EXPONENTS = {2: (1, 3), 3: (1, 3, 5), 4: (1, 3, 5), 6: (1, 3, 9, 25), 8: (1, 3, 9, 41)}

_Float64 = NDArray[np.float64]
_STEPS = 100
_TOLERANCE = 1e-9
_DECIMALS = 5  # of a coefficient at unit variance: far fewer than machines could differ in


@dataclass(frozen=True)
class Codebook:
    """The levels of a quantiser and the decision boundaries between them, ascending.

    Attributes
    ----------
    centroids
        float32, ``2**bits`` levels for the coordinates of a *unit* vector.
    boundaries
        float32, ``2**bits - 1``; a value's code is the number of boundaries below it.
    distortion
        Expected squared error of a unit vector, the norm being kept as it is.
    """

    centroids: NDArray[np.float32]
    boundaries: NDArray[np.float32]
    distortion: float


@lru_cache(maxsize=64)
def codebook(dim: int, bits: int) -> Codebook:
    """Return the levels for vectors of ``dim`` coordinates and ``2**bits`` codes.

    Raises
    ------
    ValueError
        If the bits are not offered or the dimension is odd or too small.
    """
    fitted = polynomial(dim, bits)
    levels = _powers(bits) @ np.array([coefficient for _, coefficient in fitted])
    edges = _edges(dim, levels)
    nodes, mass = _cells(dim, edges)
    inner = edges[1:-1]
    return Codebook(
        np.concatenate([-levels[::-1], levels]).astype(np.float32),
        np.concatenate([-inner[::-1], [0.0], inner]).astype(np.float32),
        dim * float(np.sum(mass * (nodes - levels[:, None]) ** 2) / np.sum(mass)),
    )


@lru_cache(maxsize=64)
def polynomial(dim: int, bits: int) -> tuple[tuple[int, float], ...]:
    """Return exponents and coefficients of the level, a function of t in (-1, 1); see above.

    Raises
    ------
    ValueError
        If the bits are not offered or the dimension is odd or too small.
    """
    if bits not in BITS:
        raise ValueError(f"{bits} bits are not offered; choose one of {BITS} (0 keeps fp16)")
    if dim < SMALLEST_DIMENSION or dim % 2:
        raise ValueError(f"head dimension {dim}: must be even and at least {SMALLEST_DIMENSION}")
    fitted = np.round(_fit(dim, bits) * math.sqrt(dim), _DECIMALS) / math.sqrt(dim)
    return tuple(zip(EXPONENTS[bits], fitted.tolist(), strict=True))


def _powers(bits: int) -> _Float64:
    """Powers of t, a row for each code of the positive half, a column for each exponent."""
    half: int = 2 ** (bits - 1)
    t = (np.arange(half) + 0.5) / half
    return np.stack([t**exponent for exponent in EXPONENTS[bits]], axis=1)


def _fit(dim: int, bits: int) -> _Float64:
    """Find the polynomial that is the least-squares fit to the centroids of its own cells.

    There the distortion is least, as with Lloyd and Max, whose levels are free. Newton's method on
    that fixed point, from levels at equal steps of the integral of f^(1/3).
    """
    powers = _powers(bits)
    found = _nearest(dim, powers, _companded_start(dim, len(powers)))

    def residual(coefficients: _Float64) -> _Float64:
        return _nearest(dim, powers, powers @ coefficients) - coefficients

    width = 1e-6 / math.sqrt(dim)
    for _ in range(_STEPS):
        left = residual(found)
        slopes = [
            (residual(found + step) - residual(found - step)) / (2 * width)
            for step in width * np.eye(len(found))
        ]
        moved = found - np.linalg.solve(np.stack(slopes, axis=1), left)
        if not _ordered(powers @ moved) or _size(residual(moved)) > _size(left):
            moved = found + left
        if _size(moved - found) * math.sqrt(dim) < _TOLERANCE:
            return moved
        found = moved
    raise ArithmeticError(f"no levels of {bits} bits for dimension {dim} after {_STEPS} steps")


def _nearest(dim: int, powers: _Float64, levels: _Float64) -> _Float64:
    """Fit the polynomial to the centroids of the levels' cells, each weighed by its mass."""
    nodes, mass = _cells(dim, _edges(dim, levels))
    total = np.sum(mass, axis=1)
    weight = np.sqrt(total)
    centroids = np.sum(mass * nodes, axis=1) / total
    fitted: _Float64 = np.linalg.lstsq(powers * weight[:, None], centroids * weight, rcond=None)[0]
    return fitted


def _size(x: _Float64) -> float:
    return float(np.max(np.abs(x)))


def _ordered(levels: _Float64) -> bool:
    return bool(levels[0] > 0 and levels[-1] < 1 and np.all(np.diff(levels) > 0))


def _edges(dim: int, levels: _Float64) -> _Float64:
    """Cell edges of the positive half: 0, the midpoints, and where the density has died out."""
    return np.concatenate([[0.0], (levels[1:] + levels[:-1]) / 2, [_support(dim)]])


def _support(dim: int) -> float:
    return min(1.0, 12 / math.sqrt(dim))


def _cells(dim: int, edges: _Float64) -> tuple[_Float64, _Float64]:
    """Gauss-Legendre nodes of each cell, and the unnormalised mass at each."""
    node, weight = _gauss_legendre()
    middle, half = (edges[1:] + edges[:-1]) / 2, np.diff(edges) / 2
    nodes = middle[:, None] + half[:, None] * node
    return nodes, half[:, None] * weight * _power(1 - nodes**2, dim - 3)


@lru_cache(maxsize=1)
def _gauss_legendre() -> tuple[_Float64, _Float64]:
    node, weight = np.polynomial.legendre.leggauss(64)
    return node, weight


def _power(base: _Float64, twice: int) -> _Float64:
    """Raise to the power ``twice / 2``, ``twice`` odd, by squaring and multiplication alone."""
    result: _Float64 = np.sqrt(base)
    square, exponent = base, twice // 2
    while exponent:
        if exponent % 2:
            result = result * square
        square, exponent = square * square, exponent // 2
    return result


def _companded_start(dim: int, half: int) -> _Float64:
    """Levels at equal steps of the integral of f^(1/3) (Panter and Dite, Proc. IRE 39, 1951)."""
    grid = np.linspace(0, _support(dim), 8193)[:-1]
    weight = np.exp(np.log1p(-(grid**2)) * ((dim - 3) / 6))
    total = np.cumsum(weight)
    start: _Float64 = np.interp((np.arange(half) + 0.5) / half * total[-1], total, grid)
    return start
