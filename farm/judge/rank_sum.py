"""The rank-sum test of Wilcoxon, Mann and Whitney: whether two samples are told apart."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from scipy.special import ndtr

from farm.judge.signed_rank import Floats

EXACT = 8  # values of the smaller sample up to which the p-value is exact


def dominance(before: Floats, after: Floats) -> float:
    """Return how often one sample's value lies beyond the other's, a tie counted half: .5 to 1."""
    wins = _wins(before, after) / (before.size * after.size)
    return max(wins, 1 - wins)


def p_two_sided(before: Floats, after: Floats) -> float:
    """Return the p-value of two samples from one distribution; ties make it larger."""
    few, many = sorted((before.size, after.size))
    wins = _wins(before, after)
    wins = min(wins, few * many - wins)
    if few <= EXACT:
        return min(1.0, 2 * float(_cumulative(few, many)[math.ceil(wins)]))
    deviation = math.sqrt(few * many * (few + many + 1) / 12)
    return min(1.0, 2 * float(ndtr((wins + 0.5 - few * many / 2) / deviation)))


def _wins(before: Floats, after: Floats) -> float:
    """Return how many pairs are greater after than before, a tie counted half."""
    ordered = np.sort(before)
    sides = (np.searchsorted(ordered, after, side) for side in ("left", "right"))
    return float(sum(int(side.sum()) for side in sides)) / 2


@cache
def _cumulative(few: int, many: int) -> Floats:
    """Return P(wins <= w) for w = 0 .. few x many, by the recursion on the generating function."""
    counts = np.zeros(few * many + 1)
    counts[0] = 1
    for step in range(1, few + 1):
        counts[many + step :] -= counts[: counts.size - many - step].copy()
        for start in range(step):
            counts[start::step] = np.cumsum(counts[start::step])
    return np.cumsum(counts) / math.comb(few + many, few)
