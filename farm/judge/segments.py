"""Exact segmentation of a series into levels; how many is decided by BIC."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import ruptures

from farm.judge.noise import (
    Floats,
    correlation_of_differences,
    correlation_of_residuals,
)

SHORTEST = 3  # nights: what is over sooner is an outlier
PENALTY = 3.0  # times log n for each level more
FEW = 4  # cuts that are tried at first; twice as many as long as many are wanted


def segmentation(standard: Floats) -> list[int]:
    """Return the first positions of the levels of a series of even noise, without the 0.

    Residuals are whitened by their AR(1) correlation, so that slow wandering does not look like
    steps; no further than differences of neighbours bear out, so that stairs do not look like
    wandering.
    """
    most = standard.size // SHORTEST - 1
    search = ruptures.KernelCPD(kernel="linear", min_size=SHORTEST).fit(standard[:, None])
    phi = correlation_of_differences(standard)
    tried, best = FEW, list[int]()
    while True:
        tried = min(tried, most)
        search.predict(n_bkps=tried)
        candidates = [[], *(search.predict(n_bkps=k)[:-1] for k in range(1, tried + 1))]
        best = min(candidates, key=lambda cuts: _bic(standard, cuts, phi))
        if 2 * len(best) <= tried or tried == most:
            return best
        tried *= 2


def residuals(standard: Floats, cuts: Sequence[int]) -> Floats:
    """Return what the mean of each level leaves."""
    bounds = np.array([0, *cuts, standard.size])
    sizes = bounds[1:] - bounds[:-1]
    left: Floats = standard - np.repeat(np.add.reduceat(standard, bounds[:-1]) / sizes, sizes)
    return left


def _bic(standard: Floats, cuts: Sequence[int], most_correlated: float) -> float:
    left = residuals(standard, cuts)
    phi = min(most_correlated, correlation_of_residuals(left, len(cuts) + 1))
    return bic(left, phi, len(cuts))


def bic(left: Floats, phi: float, parameters: int) -> float:
    """Return Schwarz's criterion of residuals with an AR(1) correlation."""
    white = left[1:] - phi * left[:-1]
    variance = max(float(white @ white) / white.size, 1e-12)
    return left.size * math.log(variance) + PENALTY * parameters * math.log(left.size)


def around(cuts: Sequence[int], size: int) -> list[tuple[int, int, int]]:
    """Return for each cut where the level before it begins, the cut, and where the next ends."""
    bounds = [0, *cuts, size]
    return [(a, b, c) for (a, b), (_, c) in pairwise(pairwise(bounds))]
