"""What a regression rests on: its series with the gate's interval, and the runs that saw it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, select

from db.models import Build, Cell, Point, Regression, Series, Verdict
from worker import job as wire

NO_GATE = (None, None, None, None)


@dataclass(frozen=True)
class Affected:
    """One series of a regression; ``low`` to ``high`` is the gate's interval of the change.

    ``pairs`` and ``run`` are those of the newest gate that judged the bad commit, None where only
    the history tells; ``series`` is its number if it has points. ``reference`` is how the figure of
    the same with fp16 changed on this device between the same commits, None where that is unknown.
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
    reference: float | None = None


def affected(engine: Engine, regression: int) -> tuple[Affected, ...]:
    """Return the series of a regression, the largest change first."""
    with engine.connect() as connection:
        query = select(Regression.good, Regression.bad, Regression.document)
        stored = connection.execute(query.where(Regression.id == regression)).one_or_none()
        if stored is None:
            return ()
        named: Sequence[dict[str, Any]] = stored.document["series"]
        cells = _cells(connection, {one["cell"] for one in named})
        numbers = _numbers(connection, {one["cell"] for one in named})
        gates = _gates(connection, stored.bad)
        references = _references(connection, stored.good, stored.bad, named)
    rows = []
    for one in named:
        key = (one["cell"], one["device"], one["metric"])
        measured = cells.get(one["cell"], ("gone", None, None, None))
        named_by = (one["cell"], one["metric"], one["device"], one.get("effect", 0.0))
        gate = gates.get(key, NO_GATE)
        fields: Sequence[Any] = (*named_by, *measured, numbers.get(key), *gate, references.get(key))
        rows.append(Affected(*fields))
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


def _references(
    connection: Connection, good: str, bad: str, named: Sequence[dict[str, Any]]
) -> dict[tuple[str, str, str], float]:
    """Return the relative change of fp16 beside each series, where both commits have its figure."""
    documents = select(Cell.id, Cell.document).where(Cell.id.in_({one["cell"] for one in named}))
    exact = {row.id: _with_fp16(row.document) for row in connection.execute(documents)}
    query = (
        select(Series.cell_id, Series.device, Series.metric, Build.commit, Point.comparison_key)
        .add_columns(Point.value)
        .join(Point, Point.series_id == Series.id)
        .join(Build, Build.hash == Point.build_hash)
        .where(Series.cell_id.in_(exact.values()), Build.commit.in_((good, bad)), Point.valid)
        .order_by(Point.started)
    )
    values: dict[tuple[str, str, str], dict[tuple[str, str], float]] = {}
    for cell, device, metric, commit, key, value in connection.execute(query):
        values.setdefault((cell, device, metric), {})[commit, key] = value
    return {
        (one["cell"], one["device"], one["metric"]): change
        for one in named
        if (change := _change(values.get(_beside(one, exact), {}), good, bad)) is not None
    }


def _beside(one: dict[str, Any], exact: dict[str, str]) -> tuple[str, str, str]:
    return exact.get(one["cell"], ""), one["device"], one["metric"]


def _with_fp16(document: dict[str, Any]) -> str:
    """Return the id of a cell with fp16 in place of its cache."""
    cell = wire.Cell.model_validate(document)
    return cell.model_copy(update={"cache": wire.Cache(name=wire.BASELINE)}).id


def _change(values: dict[tuple[str, str], float], good: str, bad: str) -> float | None:
    """Return the change under conditions that both commits share."""
    for (commit, key), after in values.items():
        before = values.get((good, key))
        if commit == bad and before:
            return after / before - 1
    return None
