"""What a regression rests on: its series with the gate's interval, and the runs that saw it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, select

from db.models import Build, Cell, Regression, Series, Verdict


@dataclass(frozen=True)
class Affected:
    """One series of a regression; ``low`` to ``high`` is the gate's interval of the change.

    ``pairs`` and ``run`` are those of the newest gate that judged the bad commit, None where only
    the history tells; ``series`` is its number if it has points.
    """

    cell: str
    metric: str
    device: str
    effect: float
    benchmark: str
    model: str | None
    cache: str | None
    context: int | None
    series: int | None
    low: float | None = None
    high: float | None = None
    pairs: int | None = None
    run: str | None = None


def affected(engine: Engine, regression: int) -> tuple[Affected, ...]:
    """Return the series of a regression, the largest change first."""
    with engine.connect() as connection:
        query = select(Regression.bad, Regression.document)
        stored = connection.execute(query.where(Regression.id == regression)).one_or_none()
        if stored is None:
            return ()
        named: Sequence[dict[str, Any]] = stored.document["series"]
        cells = _cells(connection, {one["cell"] for one in named})
        numbers = _numbers(connection, {one["cell"] for one in named})
        gates = _gates(connection, stored.bad)
    rows = []
    for one in named:
        key = (one["cell"], one["device"], one["metric"])
        measured = cells.get(one["cell"], ("gone", None, None, None))
        fields: Sequence[Any] = (*measured, numbers.get(key), *gates.get(key, ()))
        effect = one.get("effect", 0.0)
        rows.append(Affected(one["cell"], one["metric"], one["device"], effect, *fields))
    return tuple(sorted(rows, key=lambda row: -abs(row.effect)))


def _cells(connection: Connection, names: set[str]) -> dict[str, tuple[Any, ...]]:
    query = select(Cell.id, Cell.benchmark, Cell.model, Cell.cache, Cell.context)
    rows = connection.execute(query.where(Cell.id.in_(names)))
    return {row[0]: tuple(row[1:]) for row in rows}


def _numbers(connection: Connection, cells: set[str]) -> dict[tuple[str, str, str], int]:
    query = select(Series.cell_id, Series.device, Series.metric, Series.id)
    rows = connection.execute(query.where(Series.cell_id.in_(cells)))
    return {(row[0], row[1], row[2]): row[3] for row in rows}


def _gates(connection: Connection, bad: str) -> dict[tuple[str, str, str], tuple[Any, ...]]:
    """Return interval, pairs and run of the newest verdict on each series at a commit."""
    candidates = select(Build.hash).where(Build.commit == bad)
    query = (
        select(
            Verdict.cell_id,
            Verdict.device,
            Verdict.metric,
            Verdict.low,
            Verdict.high,
            Verdict.pairs,
            Verdict.run_id,
        )
        .where(Verdict.candidate.in_(candidates), Verdict.injected.is_(None))
        .where(Verdict.baseline != Verdict.candidate)
        .order_by(Verdict.judged)
    )
    return {(row[0], row[1], row[2]): tuple(row[3:]) for row in connection.execute(query)}
