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


@dataclass(frozen=True)
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

    def rotate(self, x: mx.array) -> mx.array:
        """Rotate the last axis; the result is float32 whatever the input."""
        x = x.astype(mx.float32)
        return x @ self.matrix if self.matrix is not None else mx.hadamard_transform(x * self.signs)

    def unrotate(self, y: mx.array) -> mx.array:
        """Undo `rotate`."""
        y = y.astype(mx.float32)
        return (
            y @ self.matrix.T if self.matrix is not None else mx.hadamard_transform(y) * self.signs
        )


@lru_cache(maxsize=64)
def rotation(dim: int, seed: int) -> Rotation:
    """Return the rotation that belongs to a dimension and a seed, the same on every machine."""
    random = np.random.Generator(np.random.PCG64(seed))
    if dim & (dim - 1) == 0:
        signs = random.integers(0, 2, dim).astype(np.float32) * 2 - 1
        return Rotation(dim, mx.array(signs), None)
    q, r = np.linalg.qr(random.standard_normal((dim, dim)))
    return Rotation(dim, mx.ones(dim), mx.array((q * np.sign(np.diag(r))).astype(np.float32)))
