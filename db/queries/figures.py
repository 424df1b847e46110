"""Figures of one build: what pages compare, so that nothing is compared across builds."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, Select, bindparam, func, select

from db.models import Build, Cell, Point, Record, Run, Series
from db.queries.series import OF_SERIES, OfSeries

READ = "read_bandwidth"


@dataclass(frozen=True)
class BuildSummary:
    """A build that pages can show: how many series it has figures of, on how many devices.

    ``newest`` is its last record: what a page made of this build changes only with it.
    """

    build: str
    commit: str | None
    dirty: bool
    measured: float
    newest: int
    series: int
    devices: int


@dataclass(frozen=True)
class Figure(OfSeries):
    """One valid figure of a series at a build: typical value of its trials and their range.

    ``parameters`` are those of the cell but its context, each as ``name=value``; ``origin`` says
    who measured it, None for this farm; ``noise`` is the series' relative standard deviation from
    point to point; ``host`` is the machine, for several may be one device.
    """

    parameters: tuple[str, ...]
    record: int
    run: str
    origin: str | None
    build: str
    commit: str | None
    comparison_key: str
    started: float
    value: float
    low: float
    high: float
    trials: int
    noise: float | None
    host: str = ""


def build_summary(engine: Engine, build: str, metrics: Collection[str] = ()) -> BuildSummary | None:
    """Return what there is of these metrics at a build, of all by default; None for nothing."""
    counted = select(func.count(Series.id.distinct()), func.count(Series.device.distinct()))
    counted = counted.select_from(Point).join(Series, Series.id == Point.series_id)
    counted = counted.where(Point.build_hash == build, Point.valid)
    if metrics:
        counted = counted.where(Series.metric.in_(metrics))
    named = select(Build.commit, Build.dirty, Build.measured, Build.newest)
    with engine.connect() as connection:
        series, devices = connection.execute(counted).one()
        described = connection.execute(named.where(Build.hash == build)).one_or_none()
    if described is None or not series:
        return None
    row: Sequence[Any] = (build, *described, series, devices)
    return BuildSummary(*row)


def _valid() -> Select[*tuple[Any, ...]]:
    """Return the query for valid figures, in time; the columns are the fields of Figure."""
    return (
        select(
            *OF_SERIES,
            Cell.document,
            Point.record_id,
            Record.run_id,
            Run.origin,
            Point.build_hash,
            Build.commit,
            Point.comparison_key,
            Point.started,
            Point.value,
            Point.low,
            Point.high,
            Point.trials,
            Series.noise,
            Record.host,
        )
        .select_from(Point)
        .join(Series, Series.id == Point.series_id)
        .join(Cell, Cell.id == Series.cell_id)
        .join(Record, Record.id == Point.record_id)
        .join(Run, Run.id == Record.run_id)
        .join(Build, Build.hash == Point.build_hash)
        .where(Point.valid)
        .order_by(Point.started, Point.record_id)
    )


# Made once: to put them together takes as long as SQLite takes to answer them.
OF_BUILD = _valid().where(Point.build_hash == bindparam("build"))
READS = _valid().where(Series.metric == READ, Series.newest == Point.record_id)
CELL, PARAMETERS = (
    list(Figure.__dataclass_fields__).index(name) for name in ("cell", "parameters")
)


def figures(engine: Engine, build: str) -> tuple[Figure, ...]:
    """Return the newest valid figure of each series at a build, in each run that measured it."""
    newest = {(one.series, one.run): one for one in _of_build(engine, build)}
    return tuple(sorted(newest.values(), key=_place))


def figures_by_host(engine: Engine, build: str) -> tuple[Figure, ...]:
    """Return the same of each host, so that two machines that are one device stay two."""
    newest = {(one.series, one.run, one.host): one for one in _of_build(engine, build)}
    return tuple(sorted(newest.values(), key=_place))


def _of_build(engine: Engine, build: str) -> Iterator[Figure]:
    with engine.connect() as connection:
        rows: Sequence[Sequence[Any]] = connection.execute(OF_BUILD, {"build": build}).all()
    return _figures(rows)


def reads(engine: Engine) -> tuple[Figure, ...]:
    """Return the newest measured read bandwidth of each device: no build of a cache changes it."""
    with engine.connect() as connection:
        rows: Sequence[Sequence[Any]] = connection.execute(READS).all()
    return tuple({one.device: one for one in _figures(rows)}.values())


def _figures(rows: Iterable[Sequence[Any]]) -> Iterator[Figure]:
    texts: dict[str, tuple[str, ...]] = {}
    for row in rows:
        cell = row[CELL]
        if cell not in texts:
            texts[cell] = _parameters(row[PARAMETERS])
        fields: Sequence[Any] = (*row[:PARAMETERS], texts[cell], *row[PARAMETERS + 1 :])
        yield Figure(*fields)


def _place(one: Figure) -> tuple[Any, ...]:
    return one.device, one.benchmark, one.model or "", one.context or 0, one.cache or "", one.run


def _parameters(document: dict[str, Any]) -> tuple[str, ...]:
    inside = sorted(document["params"].items())
    return tuple(f"{name}={value}" for name, value in inside if name != "context")


def devices(engine: Engine) -> tuple[str, ...]:
    """Return every device that has a series, in the order in which they came."""
    query = select(Series.device).group_by(Series.device).order_by(func.min(Series.id))
    with engine.connect() as connection:
        return tuple(connection.execute(query).scalars())


def parameters(engine: Engine) -> dict[str, tuple[str, ...]]:
    """Return the parameters of each cell but its context, as ``name=value``."""
    with engine.connect() as connection:
        rows = connection.execute(select(Cell.id, Cell.document))
        return {cell: _parameters(document) for cell, document in rows}


def suspicions(engine: Engine, build: str) -> dict[int, tuple[str, ...]]:
    """Return why valid records of a build are suspicious, by record; most are not."""
    of_build = select(Point.record_id).where(Point.build_hash == build, Point.valid).distinct()
    reasons = func.json_extract(Record.document, "$.suspicious")
    query = select(Record.id, reasons).where(Record.id.in_(of_build), reasons != "[]")
    with engine.connect() as connection:
        return {number: tuple(json.loads(why)) for number, why in connection.execute(query)}
