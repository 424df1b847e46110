"""Which old commits to measure first: those that would tell most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np


def every(size: int, step: int, measured: Sequence[int]) -> list[int]:
    """Return every ``step``-th position of ``size`` that is not measured, and the last one."""
    return sorted({*range(0, size, step), size - 1} - set(measured))


def most_telling(size: int, values: Mapping[int, Sequence[float]], count: int) -> list[int]:
    """Return up to ``count`` positions, the most telling first.

    ``values`` holds, for each measured position, one value of each series. The ends come first;
    then the middle of the gap that hides most: long, and with a change of level across it.
    """
    measured = dict(values)
    chosen: list[int] = []
    while len(chosen) < count and len(measured) < size:
        ends = [place for place in (0, size - 1) if place not in measured]
        place = ends[0] if ends else _middle_of_widest(measured)
        chosen.append(place)
        measured[place] = _interpolated(measured, place)
    return chosen


def _middle_of_widest(measured: Mapping[int, Sequence[float]]) -> int:
    def hidden(gap: tuple[int, int]) -> float:
        change = _change(measured[gap[0]], measured[gap[1]])
        return (gap[1] - gap[0] - 1) * (1 + 100 * change)

    start, end = max(pairwise(sorted(measured)), key=hidden)
    return (start + end) // 2


def _change(before: Sequence[float], after: Sequence[float]) -> float:
    """Return the largest relative change of any series across a gap."""
    ratios = [abs(np.log(b / a)) for a, b in zip(before, after, strict=False) if a > 0 and b > 0]
    return float(max(ratios, default=0.0))


def _interpolated(measured: Mapping[int, Sequence[float]], place: int) -> Sequence[float]:
    """Guess half the change of the gap on each side of a position that will be measured."""
    below = [known for known in measured if known < place]
    above = [known for known in measured if known > place]
    if not below or not above:
        return ()
    pairs = zip(measured[max(below)], measured[min(above)], strict=False)
    return [float(np.sqrt(a * b)) if a > 0 and b > 0 else 0.0 for a, b in pairs]
