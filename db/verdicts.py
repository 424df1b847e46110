"""What the judge decided: writes and reads of verdicts, suspects and regressions."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from sqlalchemy import Engine, RowMapping, case, select, update
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.orm import Session

from db.models import Cell, Point, Record, Regression, Run, Series, Suspect, Verdict
from db.validity import counting, spoiled
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


def record_verdicts(engine: Engine, rows: Sequence[VerdictRow]) -> None:
    """Store verdicts; one that is there already stays as it is."""
    with engine.begin() as connection:
        for row in rows:
            values = vars(row) | {"run_id": row.run, "cell_id": row.cell.id}
            del values["run"], values["cell"]
            connection.execute(upsert(Verdict).values(values).on_conflict_do_nothing())


def verdicts(engine: Engine, run: str | None = None, limit: int = 1000) -> list[VerdictRow]:
    """Return the newest verdicts first; of all runs by default."""
    query = select(Verdict, Cell.document).join(Cell, Cell.id == Verdict.cell_id)
    query = query.order_by(Verdict.judged.desc(), Verdict.id.desc()).limit(limit)
    if run is not None:
        query = query.where(Verdict.run_id == run)
    with Session(engine) as session:
        return [_verdict(row) for row in session.execute(query).mappings()]


def record_suspect(engine: Engine, row: SuspectRow) -> None:
    values = {
        "cell_id": row.series.cell,
        "device": row.series.device,
        "metric": row.series.metric,
        "commit": row.commit,
        "asked": row.asked,
        "changed": row.changed,
    }
    with engine.begin() as connection:
        connection.execute(upsert(Suspect).values(values))


def suspects(engine: Engine, series: SeriesKey) -> list[SuspectRow]:
    """Return what gates have answered for a series, oldest first."""
    query = (
        select(Suspect.commit, Suspect.asked, Suspect.changed)
        .where(
            Suspect.cell_id == series.cell,
            Suspect.device == series.device,
            Suspect.metric == series.metric,
        )
        .order_by(Suspect.id)
    )
    with engine.connect() as connection:
        return [SuspectRow(series, *row) for row in connection.execute(query)]


def record_regression(engine: Engine, row: RegressionRow) -> int:
    """Store a regression, or its new state if it has an ``id``; return the ``id``."""
    values = vars(row) | {"document": {"series": [dict(one) for one in row.series]}}
    del values["series"], values["id"]
    with engine.begin() as connection:
        if row.id is not None:
            connection.execute(update(Regression).where(Regression.id == row.id).values(values))
            return row.id
        added = upsert(Regression).values(values).returning(Regression.id)
        return int(connection.execute(added).scalar_one())


def regressions(engine: Engine, branch: str | None = None) -> list[RegressionRow]:
    """Return every regression, newest first; of all branches by default."""
    query = select(Regression).order_by(Regression.id.desc())
    if branch is not None:
        query = query.where(Regression.branch == branch)
    with Session(engine) as session:
        return [_regression(row) for row in session.scalars(query)]


def build_values(engine: Engine, builds: Collection[str]) -> list[BuildValue]:
    """Return every valid point of some builds that this farm measured, in time."""
    query = (
        select(
            Series.cell_id,
            Series.device,
            Series.metric,
            Point.build_hash,
            Record.host,
            Point.comparison_key,
            Point.started,
            Point.value,
        )
        .join(Series, Series.id == Point.series_id)
        .join(Record, Record.id == Point.record_id)
        .join(Run, Run.id == Record.run_id)
        .where(Point.build_hash.in_(builds), Point.valid, Run.origin.is_(None))
        .order_by(Point.started, Point.record_id)
    )
    with engine.connect() as connection:
        return [
            BuildValue(SeriesKey(cell, device, metric), build, host, key, started, value)
            for cell, device, metric, build, host, key, started, value in connection.execute(query)
        ]


def attempts(engine: Engine, builds: Collection[str]) -> Counter[tuple[str, str, str, str]]:
    """Count the records of some builds by build, cell, host, and ok, failed or invalid.

    Invalid is one with a figure that does not count.
    """
    disturbed = (Record.status == "ok") & spoiled()
    status = case((disturbed, "invalid"), else_=Record.status)
    query = select(Record.build_hash, Record.cell_id, Record.host, status)
    counted: Counter[tuple[str, str, str, str]] = Counter()
    with engine.connect() as connection:
        for build, cell, host, what in connection.execute(
            query.where(Record.build_hash.in_(builds))
        ):
            counted[build, cell, host, what] += 1
    return counted


def last_success(engine: Engine) -> float | None:
    """Return when the newest record with a figure that counts began, in seconds since 1970.

    Records that others measured do not count.
    """
    with engine.connect() as connection:
        query = select(Record.started).join(Run, Run.id == Record.run_id)
        query = query.where(counting(), Run.origin.is_(None))
        query = query.order_by(Record.started.desc()).limit(1)
        return connection.execute(query).scalar()


def cells(engine: Engine) -> dict[str, wire.Cell]:
    """Return every cell by its id."""
    with engine.connect() as connection:
        rows = connection.execute(select(Cell.id, Cell.document))
        return {cell: wire.Cell.model_validate(document) for cell, document in rows}


def _verdict(row: RowMapping) -> VerdictRow:
    found: Verdict = row["Verdict"]
    names = [one.name for one in fields(VerdictRow) if one.name not in {"run", "cell"}]
    cell = wire.Cell.model_validate(row["document"])
    return VerdictRow(run=found.run_id, cell=cell, **{name: getattr(found, name) for name in names})


def _regression(found: Regression) -> RegressionRow:
    names = [one.name for one in fields(RegressionRow) if one.name != "series"]
    return RegressionRow(
        series=tuple(found.document["series"]), **{name: getattr(found, name) for name in names}
    )
