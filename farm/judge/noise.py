"""The noise of a series of logs: outliers, stretches that are noisier, and slow wandering."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter1d, median_filter, percentile_filter

Floats = NDArray[np.float64]

DESPIKE = 5.0  # robust standard deviations
NEIGHBOURS = 31  # nights that tell how noisy it is around one
REACH = 15  # nights around a noisy one that count as noisy as it
QUIETER = 2.0  # noise differs if it does by more than this factor
ROBUST = 1.4826  # standard deviations of a normal in one median absolute deviation
CLIP = 3.0  # robust standard deviations: a larger difference is a step
MOST_CORRELATED = 0.95


def middle(values: Floats) -> float:
    """Return the median, in a fifth of the time that numpy's takes for so few values."""
    half = values.size // 2
    if values.size % 2:
        return float(np.partition(values, half)[half])
    return float(np.partition(values, (half - 1, half))[half - 1 : half + 1].sum()) / 2


def despiked(logs: Floats) -> Floats:
    """Return the logs with outliers replaced by the median of their seven neighbours."""
    centre = median_filter(logs, 7, mode="nearest")
    off = np.abs(logs - centre)
    spread = ROBUST * np.maximum(median_filter(off, 15, mode="nearest"), middle(off))
    return np.where(off > DESPIKE * spread, centre, logs)


def relative_noise(logs: Floats) -> Floats:
    """Return how noisy it is around each night, as a share of what is usual in the series.

    One within a factor of two, so that an even series is treated as one. Read off the
    upper quartile of differences of neighbours: a step or an outlier is one or two of them, nights
    that are slow now and then are many.
    """
    differences = np.abs(logs[1:] - logs[:-1])
    local = percentile_filter(differences, 75, min(NEIGHBOURS, differences.size), mode="mirror")
    local = maximum_filter1d(local, REACH)
    local = np.maximum(np.append(local[0], local), np.append(local, local[-1]))
    usual = middle(local)
    if usual <= 0:
        return np.ones(logs.size)
    share = local / usual
    even = (share < QUIETER) & (share > 1 / QUIETER)
    return np.where(even, 1.0, np.maximum(share, 1e-3))


def correlation_of_differences(standard: Floats) -> float:
    """Estimate the AR(1) coefficient from differences, which steps hardly touch.

    The correlation of neighbouring differences of AR(1) noise is (phi - 1) / 2.
    """
    differences = standard[1:] - standard[:-1]
    most = CLIP * ROBUST * middle(np.abs(differences))
    clipped = np.minimum(np.maximum(differences, -most), most) if most else differences
    power = max(float(clipped @ clipped), 1e-300)
    return _bounded(1 + 2 * float(clipped[1:] @ clipped[:-1]) / power)


def correlation_of_residuals(residuals: Floats, segments: int) -> float:
    """Estimate the AR(1) coefficient; each mean taken out biases it down by about 1 / length."""
    power = max(float(residuals @ residuals), 1e-300)
    phi = float(residuals[1:] @ residuals[:-1]) / power
    length = max(residuals.size / segments, 4.0)
    return _bounded((phi * length + 1) / (length - 3))


def whitened(x: Floats, phi: float) -> Floats:
    """Take AR(1) correlation out along the first axis (Prais and Winsten, 1954)."""
    first = np.sqrt(1 - phi**2) * x[:1]
    return np.concatenate([first, x[1:] - phi * x[:-1]])


def _bounded(phi: float) -> float:
    return min(max(phi, 0.0), MOST_CORRELATED)
