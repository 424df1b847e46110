"""The signed-rank test of Wilcoxon, exact, and the estimates that belong to it.

Everything is read off the Walsh averages, the means of all pairs of values, each value with itself
included: their median is the Hodges-Lehmann estimate, the count of positive ones is Wilcoxon's
W+, and their order statistics are exact confidence bounds (Hollander, Wolfe and Chicken,
*Nonparametric Statistical Methods*, 3rd ed., sections 3.1-3.3). Ties and zeros make the bounds
wider, never narrower.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def walsh_averages(values: ArrayLike) -> Floats:
    """Return the n (n + 1) / 2 Walsh averages of n values, ascending."""
    x = np.asarray(values, float)
    i, j = _pairs(x.size)
    averages: Floats = (x[i] + x[j]) / 2
    averages.sort()
    return averages


def estimate(walsh: Floats) -> float:
    """Return the Hodges-Lehmann estimate of the centre."""
    return float(np.median(walsh))


def lower_bound(walsh: Floats, level: float) -> float:
    """Return what the centre exceeds, wrong with a probability of at most ``level``."""
    rank = critical_count(walsh.size, level)
    return float(walsh[walsh.size - rank]) if rank <= walsh.size else -np.inf


def upper_bound(walsh: Floats, level: float) -> float:
    """Return what exceeds the centre, wrong with a probability of at most ``level``."""
    rank = critical_count(walsh.size, level)
    return float(walsh[rank - 1]) if rank <= walsh.size else np.inf


def p_greater(walsh: Floats) -> float:
    """Return the exact p-value of a centre of zero against a centre above zero."""
    return float(survival(walsh.size)[np.count_nonzero(walsh > 0)])


def p_two_sided(walsh: Floats) -> float:
    """Return the exact p-value of a centre of zero against any other centre."""
    tail = survival(walsh.size)
    above, below = np.count_nonzero(walsh > 0), np.count_nonzero(walsh < 0)
    return min(1.0, 2 * float(min(tail[above], tail[below])))


@cache
def survival(averages: int) -> Floats:
    """Return P(W+ >= w) for w = 0 .. ``averages``, where n values have so many Walsh averages."""
    n = int(np.sqrt(2 * averages))
    mass = np.ones(1)
    for rank in range(1, n + 1):
        grown = np.zeros(mass.size + rank)
        grown[: mass.size] = mass / 2
        grown[rank:] += mass / 2
        mass = grown
    return np.cumsum(mass[::-1])[::-1]


@cache
def critical_count(averages: int, level: float) -> int:
    """Return the least w with P(W+ >= w) <= level; ``averages`` + 1 if no w is so unlikely."""
    return int(np.count_nonzero(survival(averages) > level))


@cache
def _pairs(n: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    return np.triu_indices(n)
