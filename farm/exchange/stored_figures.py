"""The stored series as figures, in the order in which they were measured."""

from __future__ import annotations

import numpy as np

from db import queries
from db.engine import Engine
from db.queries import Newest, Point
from farm.exchange.csv_figures import Figures
from farm.exchange.direction import Better
from worker.metrics import METRICS


def stored_series(engine: Engine) -> dict[str, Figures]:
    """Return each series under its newest conditions by name.

    Positions are the numbers of records. Invalid points do not count; a series that is zero
    somewhere has no ratios and is left out.
    """
    newest = [one for one in queries.newest(engine) if one.metric in METRICS]
    points: dict[int, list[Point]] = {one.series: [] for one in newest}
    keys = {one.series: one.comparison_key for one in newest}
    for point in queries.timeline(engine, list(points)):
        if point.valid and point.comparison_key == keys[point.series]:
            points[point.series].append(point)
    return {
        _name(one): _figures(points[one.series], METRICS[one.metric].better)
        for one in newest
        if all(point.value > 0 for point in points[one.series])
    }


def _figures(points: list[Point], better: Better) -> Figures:
    return Figures(
        np.array([point.record for point in points], np.int64),
        np.array([[point.value] for point in points], np.float64),
        better=better,
    )


def _name(one: Newest) -> str:
    context = f"@{one.context}" if one.context is not None else ""
    cell = " ".join(filter(None, [one.benchmark + context, one.model, one.cache]))
    return f"{one.device}: {cell} ({one.cell}): {one.metric}"
