"""Series: one metric of one cell on one device over builds."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, RowMapping, select

from db import models
from db.models import Build, Cell, Conditions, Record, Sample, Series


@dataclass(frozen=True)
class Newest:
    """The newest valid point of a series: the typical figure of its trials and their range.

    ``noise`` is the series' relative standard deviation from point to point, None while unknown.
    """

    series: int
    device: str
    benchmark: str
    model: str | None
    cache: str | None
    context: int | None
    cell: str
    metric: str
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
            Series.id.label("series"),
            Series.device,
            Cell.benchmark,
            Cell.model,
            Cell.cache,
            Cell.context,
            Cell.id.label("cell"),
            Series.metric,
            Record.id.label("record"),
            Record.host,
            point.build_hash.label("build"),
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
        return tuple(Newest(**row) for row in connection.execute(query).mappings())


def conditions(engine: Engine) -> dict[str, dict[str, Any]]:
    """Return the facts behind each comparison key."""
    with engine.connect() as connection:
        rows = connection.execute(select(Conditions.key, Conditions.facts))
        return {row.key: row.facts for row in rows}


@dataclass(frozen=True)
class Point:
    """One record's figure in a series; invalid ones are kept, marked."""

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


def timeline(engine: Engine, series: Collection[int]) -> tuple[Point, ...]:
    """Return every point of these series, oldest first."""
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
        .where(point.series_id.in_(series))
        .order_by(point.series_id, point.started, point.record_id)
    )
    with engine.connect() as connection:
        return tuple(Point(*row) for row in connection.execute(query))


def raw_samples(engine: Engine, series: int, limit: int) -> tuple[tuple[int, float], ...]:
    """Return (record, value) for the counted samples of a series, newest first."""
    point = models.Point
    query = (
        select(Sample.record_id, Sample.value)
        .join(point, point.record_id == Sample.record_id)
        .join(Series, (Series.id == point.series_id) & (Series.metric == Sample.metric))
        .where(Series.id == series, Sample.warmup.is_(False))
        .order_by(point.started.desc(), Sample.id)
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
class Change:
    """What a series measured on two builds; a key differs if the environment did."""

    series: int
    device: str
    benchmark: str
    model: str | None
    cache: str | None
    context: int | None
    metric: str
    noise: float | None
    base: float
    head: float
    base_key: str
    head_key: str
    base_record: int
    head_record: int


def changes(engine: Engine, base: str, head: str) -> tuple[Change, ...]:
    """Return every series that has valid points of both builds, by the newest point of each."""
    before, after = _of_build(engine, base), _of_build(engine, head)
    common = before.keys() & after.keys()
    query = (
        select(
            Series.id.label("series"),
            Series.device,
            Cell.benchmark,
            Cell.model,
            Cell.cache,
            Cell.context,
            Series.metric,
            Series.noise,
        )
        .join(Cell, Cell.id == Series.cell_id)
        .order_by(Series.id)
    )
    with engine.connect() as connection:
        rows = [row for row in connection.execute(query).mappings() if row["series"] in common]
    return tuple(_change(row, before[row["series"]], after[row["series"]]) for row in rows)


def _change(row: RowMapping, base: RowMapping, head: RowMapping) -> Change:
    return Change(
        **row,
        base=base["value"],
        head=head["value"],
        base_key=base["comparison_key"],
        head_key=head["comparison_key"],
        base_record=base["record_id"],
        head_record=head["record_id"],
    )


def _of_build(engine: Engine, build: str) -> dict[int, RowMapping]:
    point = models.Point
    query = (
        select(point.series_id, point.value, point.comparison_key, point.record_id)
        .where(point.build_hash == build, point.valid)
        .order_by(point.series_id, point.started)
    )
    with engine.connect() as connection:
        return {row["series_id"]: row for row in connection.execute(query).mappings()}
