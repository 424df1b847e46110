"""The scalar quantiser that is optimal for one coordinate of a random unit vector.

A coordinate of a vector that is uniform on the unit sphere of dimension ``d`` has the density
``f(y) ~ (1 - y^2)^((d - 3) / 2)`` on [-1, 1], of variance ``1 / d``. The Lloyd-Max conditions
(Max, IRE Trans. Inf. Theory 6(1), 1960; Lloyd, IEEE Trans. Inf. Theory 28(2), 1982) have one
solution for it, as it is log-concave; Newton's method finds it in a few steps where Lloyd's own
iteration needs tens of thousands for 8 bits.

The levels are exact to about 1e-14 and rounded to float32 after convergence, so that every machine
gets the same table.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

BITS = (2, 3, 4, 6, 8)
SMALLEST_DIMENSION = 8

_Float64 = NDArray[np.float64]
_STEPS = 1000
_TOLERANCE = 1e-14


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
    """Solve the Lloyd-Max conditions for vectors of ``dim`` coordinates and ``2**bits`` levels.

    Raises
    ------
    ValueError
        If the bits are not offered or the dimension is odd or too small.
    """
    if bits not in BITS:
        raise ValueError(f"{bits} bits are not offered; choose one of {BITS} (0 keeps fp16)")
    if dim < SMALLEST_DIMENSION or dim % 2:
        raise ValueError(f"head dimension {dim}: must be even and at least {SMALLEST_DIMENSION}")
    levels = _solve(dim, _companded_start(dim, 2 ** (bits - 1)))
    edges = _edges(dim, levels)
    nodes, mass = _cells(dim, edges)
    centroids = np.concatenate([-levels[::-1], levels])
    inner = edges[1:-1]
    return Codebook(
        centroids.astype(np.float32),
        np.concatenate([-inner[::-1], [0.0], inner]).astype(np.float32),
        dim * float(np.sum(mass * (nodes - levels[:, None]) ** 2) / np.sum(mass)),
    )


def _solve(dim: int, levels: _Float64) -> _Float64:
    """Newton's method where it brings the levels nearer to their centroids, else Lloyd's step."""
    centroids = _cell_centroids(dim, levels)
    for _ in range(_STEPS):
        step = _newton_step(dim, levels)
        moved = levels + step
        if not _ordered(moved) or _gap(dim, moved) > _gap(dim, levels):
            moved = centroids
        if np.max(np.abs(moved - levels)) < _TOLERANCE:
            return moved
        levels, centroids = moved, _cell_centroids(dim, moved)
    raise ArithmeticError(f"no Lloyd-Max levels for dimension {dim} after {_STEPS} steps")


def _newton_step(dim: int, levels: _Float64) -> _Float64:
    """Solve the linearised ``first moment - level * probability = 0``, one equation per cell."""
    edges = _edges(dim, levels)
    nodes, mass = _cells(dim, edges)
    density = _power(1 - edges**2, dim - 3)
    density[0] = density[-1] = 0.0  # the outermost edges do not move with the levels
    above = (edges[1:] - levels) * density[1:] / 2
    below = (levels - edges[:-1]) * density[:-1] / 2
    residual = np.sum(mass * (nodes - levels[:, None]), axis=1)
    return _tridiagonal(below, above + below - np.sum(mass, axis=1), above, -residual)


def _cell_centroids(dim: int, levels: _Float64) -> _Float64:
    nodes, mass = _cells(dim, _edges(dim, levels))
    centroids: _Float64 = np.sum(mass * nodes, axis=1) / np.sum(mass, axis=1)
    return centroids


def _gap(dim: int, levels: _Float64) -> float:
    return float(np.max(np.abs(_cell_centroids(dim, levels) - levels)))


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


def _tridiagonal(below: _Float64, middle: _Float64, above: _Float64, right: _Float64) -> _Float64:
    """Thomas' algorithm; ``below[0]`` and ``above[-1]`` are ignored."""
    size = len(middle)
    upper, value = np.zeros(size), np.zeros(size)
    for i in range(size):
        left = below[i] if i else 0.0
        pivot = middle[i] - left * (upper[i - 1] if i else 0.0)
        upper[i] = above[i] / pivot
        value[i] = (right[i] - left * (value[i - 1] if i else 0.0)) / pivot
    for i in range(size - 2, -1, -1):
        value[i] -= upper[i] * value[i + 1]
    return value
