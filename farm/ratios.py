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


def log_ratio(change: float) -> float:
    """Return the log ratio of a relative change, at most ``FURTHEST``: a figure may fall to 0."""
    least = math.expm1(-FURTHEST)
    return math.log1p(min(max(change, least), math.expm1(FURTHEST)))
