"""A run under way: which of its cells have a figure, and what came last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, func, select

from db.models import Cell, Job, Point, Record, Run, Series
from db.queries.nights import HostState, state_of


@dataclass(frozen=True)
class JobState:
    """A job of a run: what it measures where, and its record, None while it has none.

    ``counts`` tells whether any of its figures does.
    """

    cell: str
    host: str
    benchmark: str
    record: int | None
    status: str | None
    started: float | None
    counts: bool


def job_states(engine: Engine, run: str) -> tuple[JobState, ...]:
    """Return the jobs of a run in their order."""
    counts = select(Point.record_id).where(Point.record_id == Record.id, Point.valid).exists()
    query = (
        select(
            Job.cell_id,
            Job.host,
            Cell.benchmark,
            Record.id,
            Record.status,
            Record.started,
            counts,
        )
        .join(Cell, Cell.id == Job.cell_id)
        .outerjoin(Record, Record.job_id == Job.id)
        .where(Job.run_id == run)
        .order_by(Job.position)
    )
    with engine.connect() as connection:
        rows: Sequence[Sequence[Any]] = connection.execute(query).all()
    return tuple(JobState(*row) for row in rows)


@dataclass(frozen=True)
class Arrival:
    """A figure that came in; one that does not count is marked."""

    record: int
    host: str
    benchmark: str
    cache: str | None
    context: int | None
    metric: str
    value: float
    low: float
    high: float
    valid: bool


def arrivals(engine: Engine, run: str, limit: int = 8) -> tuple[Arrival, ...]:
    """Return the figures of the last records of a run, the newest first."""
    last = select(Record.id).where(Record.run_id == run, Record.status == "ok")
    last = last.order_by(Record.id.desc()).limit(limit)
    query = (
        select(
            Record.id,
            Record.host,
            Cell.benchmark,
            Cell.cache,
            Cell.context,
            Series.metric,
            Point.value,
            Point.low,
            Point.high,
            Point.valid,
        )
        .join(Point, Point.record_id == Record.id)
        .join(Series, Series.id == Point.series_id)
        .join(Cell, Cell.id == Record.cell_id)
        .where(Record.id.in_(last.scalar_subquery()))
        .order_by(Record.id.desc(), Series.id)
    )
    with engine.connect() as connection:
        rows: Sequence[Sequence[Any]] = connection.execute(query).all()
    return tuple({row[0]: Arrival(*row) for row in reversed(rows)}.values())[::-1]


def last_records(engine: Engine, origin: str | None = None) -> tuple[int, ...]:
    """Return the last record of every host of this farm, or of one that records came from."""
    last = select(Record.host, func.max(Record.started).label("started"))
    last_of = last.group_by(Record.host).subquery()
    query = (
        select(func.max(Record.id))
        .join(last_of, (Record.host == last_of.c.host) & (Record.started == last_of.c.started))
        .join(Run, Run.id == Record.run_id)
        .where(Run.origin.is_(None) if origin is None else Run.origin == origin)
        .group_by(Record.host)
        .order_by(Record.host)
    )
    with engine.connect() as connection:
        return tuple(connection.execute(query).scalars())


def host_state(engine: Engine, record: int) -> HostState:
    """Return a host as one of its records describes it."""
    with engine.connect() as connection:
        document = connection.execute(select(Record.document).where(Record.id == record))
        return state_of(record, document.scalar_one())
