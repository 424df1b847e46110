"""What the judge decided, and the values of builds that it decides by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import fields

from sqlalchemy import Engine, RowMapping, case, select
from sqlalchemy.orm import Session

from db.models import Cell, Point, Record, Regression, Run, Series, Suspect, Verdict
from db.validity import counting, spoiled
from db.verdicts import BuildValue, RegressionRow, SeriesKey, SuspectRow, VerdictRow
from worker import job as wire


def verdicts(engine: Engine, series: SeriesKey) -> list[VerdictRow]:
    """Return the verdicts on one series, oldest first."""
    query = (
        select(Verdict, Cell.document)
        .join(Cell, Cell.id == Verdict.cell_id)
        .where(
            Verdict.cell_id == series.cell,
            Verdict.device == series.device,
            Verdict.metric == series.metric,
        )
        .order_by(Verdict.judged, Verdict.id)
    )
    with Session(engine) as session:
        return [_verdict(row) for row in session.execute(query).mappings()]


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
    verdict: Verdict = row["Verdict"]
    names = [one.name for one in fields(VerdictRow) if one.name not in {"run", "cell"}]
    cell = wire.Cell.model_validate(row["document"])
    return VerdictRow(
        run=verdict.run_id, cell=cell, **{name: getattr(verdict, name) for name in names}
    )


def _regression(regression: Regression) -> RegressionRow:
    names = [one.name for one in fields(RegressionRow) if one.name != "series"]
    return RegressionRow(
        series=tuple(regression.document["series"]),
        **{name: getattr(regression, name) for name in names},
    )
