"""Change points of a series that cannot be measured again: the offline, one-tier detector.

Logs of the values, outliers taken out (Hampel), are cut into segments by exact least squares
(ruptures). How many segments is decided by BIC on residuals whitened by their AR(1) correlation, so
that slow wandering does not look like steps. A cut stays if the levels beside it differ by at
least 2 % and are told apart by generalised least squares under the same correlation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import ruptures
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import median_filter
from scipy.special import stdtr

from farm.judge.ratios import relative

Floats = NDArray[np.float64]

SHORTEST = 4  # nights: what is over sooner is an outlier
MOST = 8  # change points in a window
WINDOW = 400  # points cut at once: exact segmentation costs the square
PENALTY = 3.5  # times log n for each change point
LEVEL = 1e-5
DESPIKE = 5.0  # robust standard deviations


@dataclass(frozen=True)
class ChangePoint:
    """Where a new level begins, the log of its ratio to the old one, and the p-value of no step."""

    position: int
    shift: float
    p: float

    @property
    def effect(self) -> float:
        """The relative change, infinite where no float holds it."""
        return relative(self.shift)


def change_points(values: ArrayLike, smallest: float = 0.02) -> list[ChangePoint]:
    """Return the change points of positive values in the order of time.

    ``smallest`` is the least relative change that counts. Long series are cut in overlapping
    windows, and each window answers for its middle.
    """
    if np.size(values) < 2 * SHORTEST:
        return []
    logs = despiked(np.log(np.asarray(values, float)))
    margin = math.log1p(smallest)
    if logs.size <= WINDOW:
        return _in_window(logs, margin)
    found: list[ChangePoint] = []
    for start, first, last in _windows(logs.size):
        for change in _in_window(logs[start : start + WINDOW], margin):
            position = start + change.position
            near = found and position - found[-1].position < SHORTEST
            if first <= position < last and not near:
                found.append(replace(change, position=position))
    return found


def _windows(size: int) -> Iterator[tuple[int, int, int]]:
    """Yield the start of each window, and the first and last position that it answers for."""
    step = WINDOW // 2
    starts = [*range(0, size - WINDOW, step), size - WINDOW]
    seams = [0, *(start + WINDOW // 4 for start in starts[1:]), size]
    return zip(starts, seams, seams[1:], strict=False)


def _in_window(logs: Floats, margin: float) -> list[ChangePoint]:
    if np.ptp(logs) < margin:
        return []
    return _significant(logs, segmentation(logs), margin)


def despiked(logs: Floats) -> Floats:
    """Return the logs with outliers replaced by the median of their seven neighbours."""
    centre = median_filter(logs, 7, mode="nearest")
    off = np.abs(logs - centre)
    spread = 1.4826 * np.maximum(median_filter(off, 15, mode="nearest"), np.median(off))
    return np.where(off > DESPIKE * spread, centre, logs)


def segmentation(logs: Floats) -> list[int]:
    """Return the first positions of the segments that BIC prefers, without the 0."""
    most = min(MOST, logs.size // SHORTEST - 1)
    search = ruptures.KernelCPD(kernel="linear", min_size=SHORTEST).fit(logs[:, None])
    search.predict(n_bkps=most)
    candidates = [[]] + [search.predict(n_bkps=k)[:-1] for k in range(1, most + 1)]
    return min(candidates, key=lambda cuts: _bic(logs, cuts))


def _bic(logs: Floats, cuts: Sequence[int]) -> float:
    residuals = _residuals(logs, cuts)
    phi = _correlation(residuals, len(cuts) + 1)
    whitened = residuals[1:] - phi * residuals[:-1]
    variance = max(float(np.mean(whitened**2)), 1e-12)
    n = logs.size
    return n * math.log(variance) + PENALTY * len(cuts) * math.log(n)


def _residuals(logs: Floats, cuts: Sequence[int]) -> Floats:
    bounds = [0, *cuts, logs.size]
    levels = [logs[a:b].mean() for a, b in pairwise(bounds)]
    residuals: Floats = logs - np.repeat(levels, np.diff(bounds))
    return residuals


def _correlation(residuals: Floats, segments: int) -> float:
    """Estimate the AR(1) coefficient; each mean taken out biases it down by about 1 / length."""
    power = max(float(residuals @ residuals), 1e-300)
    phi = float(residuals[1:] @ residuals[:-1]) / power
    n = max(residuals.size / segments, SHORTEST)
    return min(max((phi * n + 1) / (n - 3), 0.0), 0.95)


def _significant(logs: Floats, cuts: Sequence[int], smallest: float) -> list[ChangePoint]:
    """Drop the weakest cut until every cut is large enough and significant."""
    cuts = list(cuts)
    while cuts:
        found = _changes(logs, cuts)
        small = [c for c in found if abs(c.shift) < smallest]
        if not small and all(c.p <= LEVEL for c in found):
            return found
        weakest = min(small, key=lambda c: abs(c.shift)) if small else max(found, key=lambda c: c.p)
        cuts.remove(weakest.position)
    return []


def _changes(logs: Floats, cuts: Sequence[int]) -> list[ChangePoint]:
    """Measure each cut: the change of the mean, and the p-value of generalised least squares."""
    bounds = [0, *cuts, logs.size]
    found = []
    for cut, p, (a, b, c) in zip(cuts, _p_values(logs, bounds), _triples(bounds), strict=True):
        shift = float(logs[b:c].mean() - logs[a:b].mean())
        found.append(ChangePoint(cut, shift, p))
    return found


def _p_values(logs: Floats, bounds: Sequence[int]) -> list[float]:
    """Return the p-value of each inner bound: a step in AR(1) noise (Prais and Winsten, 1954)."""
    phi = _correlation(_residuals(logs, bounds[1:-1]), len(bounds) - 1)
    levels = np.repeat(np.eye(len(bounds) - 1), np.diff(bounds), axis=0)
    design, observed = _whitened(levels, phi), _whitened(logs, phi)
    covariance = np.linalg.inv(design.T @ design)
    fitted = covariance @ (design.T @ observed)
    freedom = logs.size - len(bounds)
    residuals = observed - design @ fitted
    variance = max(float(residuals @ residuals) / freedom, 1e-14)
    contrast = np.diff(np.eye(len(bounds) - 1), axis=0)
    errors = np.sqrt(variance * np.einsum("ij,jk,ik->i", contrast, covariance, contrast))
    p: list[float] = (2 * stdtr(freedom, -np.abs(contrast @ fitted) / errors)).tolist()
    return p


def _whitened(x: Floats, phi: float) -> Floats:
    """Take AR(1) correlation out along the first axis."""
    first = math.sqrt(1 - phi**2) * x[:1]
    return np.concatenate([first, x[1:] - phi * x[:-1]])


def _triples(bounds: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    return zip(bounds, bounds[1:], bounds[2:], strict=False)
