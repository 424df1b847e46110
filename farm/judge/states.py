"""Levels that come and go: a machine with two states turns between them, and no build did it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from farm.judge.noise import Floats

Places = NDArray[np.int_]

TURNS = 4  # between the same two levels: there and back, twice
LONGEST = 60  # nights from one turn to the next: what stays longer is a level of its own
ALIKE = 0.25  # of the distance of two levels: so near another is the same
CLEAR = 0.9  # of the nights must be near one of them, or single nights say nothing


def without_states(logs: Floats, cuts: Sequence[int], smallest: float) -> list[int]:
    """Return the cuts that are no turns between two levels which the series has again and again.

    Turns are counted from level to level, and from night to night for states that are over before
    they make a level. Levels closer than ``smallest`` are no two states.
    """
    bounds = np.array([0, *cuts, logs.size])
    levels = np.array([np.median(logs[start:end]) for start, end in pairwise(bounds)])
    turning: list[tuple[int, int]] = []
    for one, other in pairwise(levels.tolist()):
        if abs(other - one) >= smallest:
            turning += _turning(levels, bounds, one, other)
            if np.mean(_near(logs, one, other) | _near(logs, other, one)) >= CLEAR:
                turning += _turning(logs, np.arange(logs.size), one, other)
    return [cut for cut in cuts if not any(start < cut <= end for start, end in turning)]


def _near(values: Floats, one: float, other: float) -> NDArray[np.bool_]:
    """Tell which values are those of the first of two levels."""
    return np.abs(values - one) <= ALIKE * abs(other - one)


def _turning(values: Floats, nights: Places, one: float, other: float) -> Iterator[tuple[int, int]]:
    """Yield the first and last night of each stretch that turns often enough between two levels.

    ``nights`` says where each value begins. A value between the levels is of a few nights of both;
    one beyond them ends a stretch.
    """
    near, (low, high) = ALIKE * abs(other - one), sorted((one, other))
    outside = np.flatnonzero((values < low - near) | (values > high + near))
    sides = (values > high - near).astype(int) - (values < low + near)
    for before, after in pairwise([-1, *outside.tolist(), values.size]):
        told = before + 1 + np.flatnonzero(sides[before + 1 : after])
        turns, at = np.flatnonzero(np.diff(sides[told])), nights[told]
        rests = np.flatnonzero(np.diff(at[turns + 1]) > LONGEST) + 1
        for run in np.split(turns, rests):
            if run.size >= TURNS:
                yield int(at[run[0]]), int(at[run[-1] + 1])
