"""What the judge decided, as rows: verdicts, suspects, regressions, and the values of builds."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from worker import job as wire


@dataclass(frozen=True)
class VerdictRow:
    """A verdict on one series, as stored; figures that are not known are None.

    ``injected`` is the share by which a wrapper slowed the candidate, 0 for a gate of a build with
    itself, None for a gate of two builds.
    """

    run: str
    cell: wire.Cell
    host: str
    device: str
    comparison_key: str
    metric: str
    baseline: str
    candidate: str
    outcome: str
    effect: float | None
    low: float | None
    high: float | None
    pairs: int
    p: float | None
    deviation: float | None
    replaced: int
    injected: float | None
    note: str
    seed: int
    judged: float = field(default_factory=time.time)


@dataclass(frozen=True)
class SeriesKey:
    """Names a series."""

    cell: str
    device: str
    metric: str


@dataclass(frozen=True)
class BuildValue:
    """One series at one build: the median of one good and valid process."""

    series: SeriesKey
    build: str
    host: str
    comparison_key: str
    started: float
    value: float


@dataclass(frozen=True)
class SuspectRow:
    """What a gate answered when a series was suspected to change at ``commit``."""

    series: SeriesKey
    commit: str
    asked: str
    changed: bool


@dataclass(frozen=True)
class RegressionRow:
    """A regression of one or several series between two commits.

    ``series`` are documents with cell, device, metric and effect; ``expires`` ends an
    acknowledgement, in seconds since 1970.
    """

    branch: str
    good: str
    bad: str
    effect: float
    series: tuple[Mapping[str, Any], ...]
    state: str = "open"
    id: int | None = None
    found: float = field(default_factory=time.time)
    culprit: str | None = None
    confidence: float | None = None
    author: str | None = None
    reason: str | None = None
    expires: float | None = None
