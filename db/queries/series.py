"""Series: one metric of one cell on one device over builds."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, Select, bindparam, select
from sqlalchemy.orm import aliased

from db import models
from db.models import Build, Cell, Conditions, Record, Sample, Series


@dataclass(frozen=True)
class OfSeries:
    """A series, and what its cell measures; ``OF_SERIES`` are the columns of these fields."""

    series: int
    device: str
    metric: str
    cell: str
    benchmark: str
    model: str | None
    cache: str | None
    context: int | None


OF_SERIES = (
    *(Series.id, Series.device, Series.metric),
    *(Cell.id, Cell.benchmark, Cell.model, Cell.cache, Cell.context),
)


@dataclass(frozen=True)
class Newest(OfSeries):
    """The newest valid point of a series: the typical figure of its trials and their range.

    ``noise`` is the series' relative standard deviation from point to point, None while unknown.
    """

    record: int
    host: str
    build: str
    commit: str | None
    comparison_key: str
    started: float
    value: float
    low: float
    high: float
    trials: int
    noise: float | None


def newest(engine: Engine, metrics: Collection[str] = ()) -> tuple[Newest, ...]:
    """Return the newest valid point of every series of these metrics, of all by default."""
    point = models.Point
    query = (
        select(
            *OF_SERIES,
            Record.id,
            Record.host,
            point.build_hash,
            Build.commit,
            point.comparison_key,
            point.started,
            point.value,
            point.low,
            point.high,
            point.trials,
            Series.noise,
        )
        .join(Cell, Cell.id == Series.cell_id)
        .join(Record, Record.id == Series.newest)
        .join(
            point,
            (point.series_id == Series.id)
            & (point.started == Record.started)
            & (point.record_id == Record.id),
        )
        .join(Build, Build.hash == point.build_hash)
        .order_by(Series.device, Cell.benchmark, Cell.model, Cell.context, Cell.cache)
    )
    if metrics:
        query = query.where(Series.metric.in_(metrics))
    with engine.connect() as connection:
        rows: Sequence[Sequence[Any]] = connection.execute(query).all()
    return tuple(Newest(*row) for row in rows)


def conditions(engine: Engine) -> dict[str, dict[str, Any]]:
    """Return the facts behind each comparison key."""
    with engine.connect() as connection:
        rows = connection.execute(select(Conditions.key, Conditions.facts))
        return {row.key: row.facts for row in rows}


@dataclass(frozen=True)
class Point:
    """One record's figure in a series; those that do not count are kept, marked."""

    series: int
    record: int
    build: str
    commit: str | None
    comparison_key: str
    valid: bool
    started: float
    value: float
    low: float
    high: float
    trials: int


def timeline(engine: Engine, series: Collection[int], since: float = 0.0) -> tuple[Point, ...]:
    """Return every point of these series from a time on, oldest first."""
    point = models.Point
    query = (
        select(
            point.series_id,
            point.record_id,
            point.build_hash,
            Build.commit,
            point.comparison_key,
            point.valid,
            point.started,
            point.value,
            point.low,
            point.high,
            point.trials,
        )
        .join(Build, Build.hash == point.build_hash)
        .where(point.series_id.in_(series), point.started >= since)
        .order_by(point.series_id, point.started, point.record_id)
    )
    with engine.connect() as connection:
        rows: Sequence[Sequence[Any]] = connection.execute(query).all()
    return tuple(Point(*row) for row in rows)


def raw_samples(engine: Engine, series: int, limit: int) -> tuple[tuple[int, float], ...]:
    """Return (record, value) for the counted samples of a series, newest first."""
    of_series = select(models.Point.record_id).where(models.Point.series_id == series)
    metric = select(Series.metric).where(Series.id == series).scalar_subquery()
    query = (
        select(Sample.record_id, Sample.value)
        .where(
            Sample.metric == metric,
            Sample.record_id.in_(of_series),
            Sample.warmup.is_(False),
        )
        .order_by(Sample.record_id.desc(), Sample.id)
        .limit(limit)
    )
    with engine.connect() as connection:
        return tuple((row[0], row[1]) for row in connection.execute(query))


@dataclass(frozen=True)
class Commit:
    """A build in the order of measuring; ``measured`` is when its first record started."""

    build: str
    commit: str | None
    dirty: bool
    measured: float


def commits(engine: Engine) -> tuple[Commit, ...]:
    """Return the builds that have records, the last measured first."""
    query = (
        select(Build.hash.label("build"), Build.commit, Build.dirty, Build.measured)
        .where(Build.measured.is_not(None))
        .order_by(Build.measured.desc(), Build.hash)
    )
    with engine.connect() as connection:
        return tuple(Commit(**row) for row in connection.execute(query).mappings())


@dataclass(frozen=True)
class Change(OfSeries):
    """What a series measured on two builds; a key differs if the environment did."""

    noise: float | None
    base: float
    head: float
    base_key: str
    head_key: str
    base_record: int
    head_record: int


def _changes() -> Select[*tuple[Any, ...]]:
    before, after = aliased(models.Point), aliased(models.Point)
    return (
        select(
            *OF_SERIES,
            Series.noise,
            before.value,
            after.value,
            before.comparison_key,
            after.comparison_key,
            before.record_id,
            after.record_id,
        )
        .select_from(before)
        .join(after, after.series_id == before.series_id)
        .join(Series, Series.id == before.series_id)
        .join(Cell, Cell.id == Series.cell_id)
        .where(before.build_hash == bindparam("base"), before.valid)
        .where(after.build_hash == bindparam("head"), after.valid)
        .order_by(before.series_id, before.started, after.started)
    )


# Made once: to put it together takes as long as SQLite takes to answer it.
CHANGES = _changes()


def changes(engine: Engine, base: str, head: str) -> tuple[Change, ...]:
    """Return every series that has valid points of both builds, by the newest point of each."""
    with engine.connect() as connection:
        answer = connection.execute(CHANGES, {"base": base, "head": head})
        rows: Sequence[Sequence[Any]] = answer.all()
    return tuple({row[0]: Change(*row) for row in rows}.values())
