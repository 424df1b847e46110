"""Two commits over all cells: how much each series changed, and whether that is more than noise."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from worker.metrics import METRICS

# Two points differ by the noise of both: three of these deviations are seen by chance in 1 of 370.
SIGNIFICANT = 3.0


class Change(Protocol):
    """What a series measured on two builds, as ``db.queries.changes`` gives it."""

    @property
    def metric(self) -> str: ...
    @property
    def noise(self) -> float | None: ...
    @property
    def base(self) -> float: ...
    @property
    def head(self) -> float: ...
    @property
    def base_key(self) -> str: ...
    @property
    def head_key(self) -> str: ...


C = TypeVar("C", bound=Change)


@dataclass(frozen=True)
class Judged:
    """``relative`` is the change as a share of the base, ``significance`` its size in noise."""

    relative: float
    significance: float | None
    answer: str


def judge(change: Change) -> Judged:
    """Say how a series changed; a first look, for the gate alone gives verdicts with a known error.

    A change counts if it is larger than the metric's tolerance and three times its noise.
    """
    if change.base_key != change.head_key:
        return Judged(relative(change), None, "not comparable")
    size = relative(change)
    significance = _significance(size, change.noise)
    metric = METRICS.get(change.metric)
    tolerance = metric.tolerance if metric else 0.0
    if significance is None:
        return Judged(size, None, "noise unknown" if abs(size) > tolerance else "same")
    if abs(size) <= tolerance or significance < SIGNIFICANT:
        return Judged(size, significance, "same")
    if metric is None:
        return Judged(size, significance, "changed")
    better = (size > 0) == (metric.better == "higher")
    return Judged(size, significance, "better" if better else "worse")


def relative(change: Change) -> float:
    """Return the change as a share of the base; from zero, any change is infinite."""
    if change.head == change.base:
        return 0.0
    if change.base == 0:
        return math.copysign(math.inf, change.head)
    return (change.head - change.base) / abs(change.base)


def by_significance(found: Iterable[tuple[C, Judged]]) -> list[tuple[C, Judged]]:
    """Sort the most significant first, those of unknown noise by their size after them."""
    return sorted(
        found,
        key=lambda pair: (
            -(pair[1].significance if pair[1].significance is not None else -1.0),
            -abs(pair[1].relative),
        ),
    )


def _significance(size: float, noise: float | None) -> float | None:
    if noise is None:
        return None
    if noise == 0:
        return math.inf if size else 0.0
    return abs(size) / (noise * math.sqrt(2))
