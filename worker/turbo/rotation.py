"""A seeded random rotation that makes every coordinate of a unit vector follow one known law.

TurboQuant (Zandieh et al., arXiv 2504.19874) rotates before it quantises, so that one codebook fits
all coordinates. A power-of-two dimension gets random signs and the Walsh-Hadamard transform, any
other a dense orthogonal matrix: zero-padding would store codes of nothing, and MLX's Hadamard
transform for the factors 20 and 28 is not its own inverse (for 72 and 100 it corrupts memory).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import mlx.core as mx
import numpy as np


@dataclass(frozen=True, eq=False)
class Rotation:
    """``y = x R`` with orthogonal R, in float32; the inverse is ``x = y R^T``.

    Attributes
    ----------
    signs
        float32 [dim] of +-1; for a power-of-two dimension ``R = diag(signs) H`` with the
        orthonormal Hadamard matrix H. All ones where a matrix is given.
    matrix
        float32 [dim, dim], R itself, for any other dimension; else None.
    """

    dim: int
    signs: mx.array
    matrix: mx.array | None

    @property
    def numbers(self) -> mx.array:
        """What kernels read of it, one after the other: the signs, or the matrix by rows."""
        return self.signs if self.matrix is None else self.matrix.reshape(-1)

    def rotate(self, x: mx.array) -> mx.array:
        """Rotate the last axis; the result is float32 whatever the input."""
        x = x.astype(mx.float32)
        if self.matrix is None:
            return mx.hadamard_transform(x * self.signs)
        return _product(x, self.matrix)

    def unrotate(self, y: mx.array) -> mx.array:
        """Undo `rotate`."""
        y = y.astype(mx.float32)
        if self.matrix is None:
            return mx.hadamard_transform(y) * self.signs
        return _product(y, self.matrix.T)


def _product(x: mx.array, matrix: mx.array) -> mx.array:
    """Multiply in full float32 on a device whose float32 products are of 10-bit operands.

    CUDA's TF32 and the neural accelerators of Apple's M5 round the operands so, and MLX uses them
    by default. The high parts have few enough bits; low times low is below float32.
    """
    if mx.default_device().type != mx.DeviceType.gpu:
        return mx.matmul(x, matrix)
    (high, low), (matrix_high, matrix_low) = _split(x), _split(matrix)
    rest = mx.matmul(high, matrix_low) + mx.matmul(low, matrix_high)
    return mx.matmul(high, matrix_high) + rest


def _split(x: mx.array) -> tuple[mx.array, mx.array]:
    """Return the part of float32 that 10 bits of mantissa hold, and the rest."""
    high = (x.view(mx.uint32) & 0xFFFFE000).view(mx.float32)
    return high, x - high


@lru_cache(maxsize=64)
def rotation(dim: int, seed: int) -> Rotation:
    """Return the rotation that belongs to a dimension and a seed, the same on every machine."""
    random = np.random.Generator(np.random.PCG64(seed))
    if dim & (dim - 1) == 0:
        signs = random.integers(0, 2, dim).astype(np.float32) * 2 - 1
        return Rotation(dim, _evaluated(signs), None)
    q, r = np.linalg.qr(random.standard_normal((dim, dim)))
    matrix = (q * np.sign(np.diag(r))).astype(np.float32)
    return Rotation(dim, _evaluated(np.ones(dim, np.float32)), _evaluated(matrix))


def _evaluated(x: np.ndarray) -> mx.array:
    """Make an array that other threads may use: a lazy one belongs to the thread that made it."""
    made = mx.array(x)
    mx.eval(made)
    return made
