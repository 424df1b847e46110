"""Score detections against labels: one to one, within three points."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from farm.bench.series import Floats, Series, generate

NEAR = 3
Detector = Callable[[Floats], Sequence[int]]


@dataclass(frozen=True)
class Score:
    """Counts over many series; ``silent`` are the points of series without any change."""

    right: int = 0
    wrong: int = 0
    missed: int = 0
    false: int = 0
    silent: int = 0
    seconds: float = 0.0
    series: int = 0

    @property
    def f1(self) -> float:
        return 2 * self.right / max(2 * self.right + self.wrong + self.missed, 1)

    @property
    def false_per_1000(self) -> float:
        return 1000 * self.false / max(self.silent, 1)

    @property
    def milliseconds(self) -> float:
        return 1000 * self.seconds / self.series

    def __add__(self, other: Score) -> Score:
        mine, theirs = vars(self).values(), vars(other).values()
        return Score(*(a + b for a, b in zip(mine, theirs, strict=True)))


def matches(found: Iterable[int], steps: Iterable[int], near: int = NEAR) -> list[tuple[int, int]]:
    """Pair detections with steps, nearest first, each used once."""
    pairs = sorted((abs(f - s), f, s) for f in found for s in steps if abs(f - s) <= near)
    taken: list[tuple[int, int]] = []
    for _, f, s in pairs:
        if all(f != g and s != t for g, t in taken):
            taken.append((f, s))
    return taken


def score(detect: Detector, series: Series) -> Score:
    """Run a detector on a series; what lies in an ignored range counts neither way."""
    begin = perf_counter()
    found = list(detect(series.values))
    seconds = perf_counter() - begin
    right = matches(found, series.steps)
    matched = {f for f, _ in right}
    wrong = [
        f
        for f in found
        if f not in matched and not any(a - NEAR <= f <= b + NEAR for a, b in series.ignored)
    ]
    unchanged = not series.steps and not series.ignored
    return Score(
        len(right),
        len(wrong),
        len(series.steps) - len(right),
        len(found) if unchanged else 0,
        series.values.size if unchanged else 0,
        seconds,
        1,
    )


def total(detect: Detector, many: Iterable[Series]) -> Score:
    """Add up the scores of many series."""
    return sum((score(detect, series) for series in many), Score())


def generated(count: int, seed: int) -> list[Series]:
    """Generate series, each from a child of the seed."""
    return [generate(np.random.default_rng([seed, i])) for i in range(count)]
