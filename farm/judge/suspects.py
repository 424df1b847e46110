"""Suspects in a nightly series: the sensitive tier, which alarms nobody.

A suspect is a place where the series may have shifted lately. Whether it did is settled by
measuring: the gate runs the build from before the suspect against the latest one, on the same
host in the same hour, so that drivers, rooms and seasons cannot pass for a change of the code.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import ruptures
from numpy.typing import ArrayLike, NDArray

WINDOW = 120  # nights looked back on
RECENT = 25  # nights: older shifts have had their chance
BEFORE = 5  # nights back from a suspect to a build that is surely older
PENALTY = 3.0
SHORTEST = 2  # nights
PATIENCE = 10  # nights until a denied suspect is asked again
NEAR = 5  # nights within which two suspects are one


@dataclass(frozen=True)
class Suspect:
    """A position from which the level may be new, and its relative change."""

    position: int
    effect: float


def suspects(values: ArrayLike, smallest: float = 0.02) -> list[Suspect]:
    """Return the recent suspects of a series of positive values, the oldest first."""
    logs = np.log(np.asarray(values, float))[-WINDOW:]
    offset = max(np.size(values) - WINDOW, 0)
    if logs.size < 2 * SHORTEST or np.ptp(logs) < math.log1p(smallest):
        return []
    search = ruptures.KernelCPD(kernel="rbf", min_size=SHORTEST).fit(logs[:, None])
    cuts = merged(logs, search.predict(pen=PENALTY)[:-1], math.log1p(smallest))
    return [
        Suspect(offset + cut, math.expm1(shift))
        for cut, shift in cuts.items()
        if cut >= logs.size - RECENT
    ]


@dataclass(frozen=True)
class Settled:
    """A suspect that the gate has answered for, and the night on which it did."""

    position: int
    night: int
    changed: bool


def unsettled(
    all_suspects: Iterable[Suspect], settled: Sequence[Settled], night: int
) -> list[Suspect]:
    """Drop what the gate has answered for: a change for good, its denial for some nights."""
    return [suspect for suspect in all_suspects if not _answered(suspect, settled, night)]


def _answered(suspect: Suspect, settled: Sequence[Settled], night: int) -> bool:
    return any(
        answer.changed or night - answer.night < PATIENCE
        for answer in settled
        if abs(suspect.position - answer.position) <= NEAR
    )


def merged(logs: NDArray[np.float64], cuts: Sequence[int], smallest: float) -> dict[int, float]:
    """Drop the smallest step until each is at least ``smallest``; return steps by position."""
    cuts = list(cuts)
    while cuts:
        bounds = [0, *cuts, logs.size]
        medians = [float(np.median(logs[a:b])) for a, b in pairwise(bounds)]
        shifts = {cut: b - a for cut, (a, b) in zip(cuts, pairwise(medians), strict=True)}
        least = min(shifts, key=lambda cut: abs(shifts[cut]))
        if abs(shifts[least]) >= smallest:
            return shifts
        cuts.remove(least)
    return {}
