"""Relative changes and the logs of ratios that stand for them."""

from __future__ import annotations

import math

#: The log of the largest ratio that is told apart from one to or from zero, about 10,000.
FURTHEST = 9.0


def relative(log_ratio: float) -> float:
    """Return the relative change of a log ratio; infinite where no float holds it."""
    try:
        return math.expm1(log_ratio)
    except OverflowError:
        return math.inf


def log_ratio(baseline: float, candidate: float) -> float:
    """Return log candidate / baseline, at most ``FURTHEST`` either way.

    A divergence or a share of successes may be zero, or by rounding a little below.
    """
    if candidate == baseline:
        return 0.0
    if min(baseline, candidate) <= 0:
        return math.copysign(FURTHEST, candidate - baseline)
    return min(max(math.log(candidate / baseline), -FURTHEST), FURTHEST)
