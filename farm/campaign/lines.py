"""The stored series of a history: one line of values over its commits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from db import queries
from db.verdicts import BuildValue, SeriesKey
from farm.campaign.history import Night
from farm.judge.pairs import CHUNKS
from worker.metrics import METRICS

WATCHED = ("speed", "energy", "bytes", "quality")


@dataclass(frozen=True)
class Line:
    """One series over the history: positions of commits, and the median value at each.

    Only values under the newest conditions (macOS, mlx, power mode) belong to it, so that a
    change of the environment begins a new line instead of an alarm.
    """

    series: SeriesKey
    host: str
    positions: tuple[int, ...]
    values: tuple[float, ...]


def lines(night: Night) -> list[Line]:
    """Return the stored series of the history under the newest conditions."""
    place = {commit.build.hash: i for i, commit in enumerate(night.history)}
    wanted = {cell.id for cell in night.cells}
    groups: dict[SeriesKey, list[BuildValue]] = {}
    for value in queries.build_values(night.campaign.engine, list(place)):
        metric = METRICS.get(value.series.metric)
        chunk = value.series.metric in CHUNKS.values()
        if metric and metric.kind in WATCHED and value.series.cell in wanted and not chunk:
            groups.setdefault(value.series, []).append(value)
    return [_line(series, values, place) for series, values in groups.items()]


def _line(series: SeriesKey, values: Sequence[BuildValue], place: Mapping[str, int]) -> Line:
    newest = values[-1]
    at: dict[int, list[float]] = {}
    for value in values:
        if value.comparison_key == newest.comparison_key:
            at.setdefault(place[value.build], []).append(value.value)
    positions = tuple(sorted(at))
    return Line(series, newest.host, positions, tuple(median(at[i]) for i in positions))
