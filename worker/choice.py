"""Which cache to choose: the smallest whose divergence is within a budget for sure.

The one home of this rule: `farm choose` searches by it, and the dashboard shows what it says of
what is stored.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import NormalDist, mean, stdev
from typing import TypeVar

#: Positions that stand side by side are alike: the interval is made of so many blocks of them.
BLOCKS = 16
_TWO_SIDED = 0.975

T = TypeVar("T")


@dataclass(frozen=True)
class Divergence:
    """A mean KL divergence from fp16 KV in nats, with 95 % bounds of the mean over such a text."""

    mean: float
    low: float
    high: float

    def within(self, budget: float) -> bool:
        """Tell whether it is within a budget for sure: up to its upper bound."""
        return self.high <= budget


def divergence(steps: Sequence[float]) -> Divergence:
    """Return the mean of the divergences of consecutive steps, with Student's bounds over blocks.

    Fewer than two steps have no upper bound. Raises ValueError for none.
    """
    if not steps:
        raise ValueError("no steps")
    blocks = min(BLOCKS, len(steps))
    edges = [round(len(steps) * number / blocks) for number in range(blocks + 1)]
    means = [mean(steps[a:b]) for a, b in pairwise(edges)]
    middle = mean(steps)
    if blocks == 1:
        return Divergence(middle, 0.0, math.inf)
    half = _student(blocks - 1) * stdev(means) / math.sqrt(blocks)
    return Divergence(middle, max(middle - half, 0.0), middle + half)


def worst(found: Iterable[Divergence]) -> Divergence:
    """Return the divergence of the text that a cache is worst on: texts differ by more than bounds.

    Raises ValueError for none.
    """
    return max(found, key=lambda one: one.high)


def smallest(found: Iterable[tuple[T, float, Divergence]], budget: float) -> T | None:
    """Return the smallest of (what, size, divergence) within a budget; None where none is."""
    good = [
        (size, number, what) for number, (what, size, kl) in enumerate(found) if kl.within(budget)
    ]
    return min(good, key=lambda one: one[:2])[2] if good else None


def _student(freedom: int) -> float:
    """Return Student's 97.5 % quantile by the expansion of Cornish and Fisher: 3 % off at 2."""
    z, v = NormalDist().inv_cdf(_TWO_SIDED), freedom
    return (
        z
        + (z**3 + z) / (4 * v)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * v**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * v**3)
    )
