"""Points of series: each record's figure of each metric, kept beside its samples.

A point can always be made again from the record; ``rebuild`` does that for all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, pairwise
from statistics import median
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, text, update
from sqlalchemy.dialects.sqlite import insert as upsert

from db import rows
from db.models import Build, Conditions, Point, Record, Sample, Series
from db.rows import RecordRows, by_metric
from worker.machine import reasons
from worker.machine.reasons import REASONS, Reason
from worker.record import Record as WireRecord

RECENT = 30  # points: enough for a robust spread, few enough to follow a host that changes
FEWEST = 5

# A robust standard deviation is 1.4826 times the median of absolute deviations; a difference of
# two points has the square root of two times the spread of one.
SPREAD = 1.4826 / 2**0.5

Figures = Iterable[tuple[str, float]]
SeriesName = tuple[str, str, str]  # cell, device and metric


def noise(values: Sequence[float]) -> float | None:
    """Return the relative standard deviation from one point to the next, None for too few.

    Neighbours are compared, so that a slow drift or a few steps do not count as noise.
    """
    if len(values) < FEWEST:
        return None
    return SPREAD * median(
        abs(b - a) / max(abs(a), abs(b)) if a != b else 0.0 for a, b in pairwise(values)
    )


def add_records(connection: Connection, numbered: Sequence[tuple[int, RecordRows]]) -> None:
    """Add the points of new records, and what is known of their builds and conditions."""
    _add_conditions(connection, (one.conditions for _, one in numbered))
    _add_to_builds(connection, numbered)
    series = _series(connection, (name for _, one in numbered for name, _ in _points(one)))
    points = [
        {"series_id": series[name], "record_id": number, **point}
        for number, one in numbered
        for name, point in _points(one)
    ]
    if points:
        connection.execute(insert(Point), points)
    for number in dict.fromkeys(series.values()):
        _refresh(connection, number)


def rebuild(connection: Connection) -> None:
    """Make every point again from the records and their samples."""
    for table in (Point, Series, Conditions):
        connection.execute(delete(table))
    _rebuild_conditions(connection)
    _rebuild_builds(connection)
    numbers: dict[tuple[str, str, str], int] = {}
    points: list[dict[str, Any]] = []
    for (cell, device), invalid, row, figures in _recorded(connection):
        for metric, summary in by_metric(figures):
            name = (cell, device, metric)
            number = numbers.setdefault(name, len(numbers) + 1)
            valid = reasons.counts(metric, invalid)
            points.append({"series_id": number, "valid": valid, **row, **summary})
    if not points:
        return
    names = ("id", "cell_id", "device", "metric")
    series = [dict(zip(names, (number, *name), strict=True)) for name, number in numbers.items()]
    connection.execute(insert(Series), series)
    connection.execute(insert(Point), points)
    for number in numbers.values():
        _refresh(connection, number)


def judge_again(connection: Connection) -> None:
    """Bring the points of disturbed records, and their series, up to date with the rule."""
    query = (
        select(Point.series_id, Point.record_id, Point.valid, Series.metric, Record.invalid)
        .join(Series, Series.id == Point.series_id)
        .join(Record, Record.id == Point.record_id)
        .where(text("record.invalid != '[]'"))
    )
    changed = [
        (row.series_id, row.record_id, valid)
        for row in connection.execute(query).all()
        if (valid := reasons.counts(row.metric, REASONS.validate_python(row.invalid))) != row.valid
    ]
    for series, record, valid in changed:
        place = (Point.series_id == series, Point.record_id == record)
        connection.execute(update(Point).where(*place).values(valid=valid))
    for series in {series for series, _, _ in changed}:
        _refresh(connection, series)


def _points(found: RecordRows) -> Iterator[tuple[SeriesName, dict[str, Any]]]:
    """Yield each point of a record with the cell, device and metric of its series."""
    record = found.record
    of_record = {name: record[name] for name in ("build_hash", "comparison_key", "started")}
    for metric, figures in found.points:
        yield (record["cell_id"], record["device"], metric), {**of_record, **figures}


def _series(connection: Connection, names: Iterable[SeriesName]) -> dict[SeriesName, int]:
    """Return the number of each series; those that are new get one."""
    found: dict[SeriesName, int] = {}
    for name in dict.fromkeys(names):
        row = dict(zip(("cell_id", "device", "metric"), name, strict=True))
        connection.execute(upsert(Series).values(row).on_conflict_do_nothing())
        found[name] = connection.execute(select(Series.id).filter_by(**row)).scalar_one()
    return found


def _refresh(connection: Connection, number: int) -> None:
    """Bring a series' newest record and noise up to date with its valid points."""
    recent = connection.execute(
        select(Point.record_id, Point.value)
        .where(Point.series_id == number, Point.valid)
        .order_by(Point.started.desc(), Point.record_id.desc())
        .limit(RECENT)
    ).all()
    if recent:
        figures = [value for _, value in recent]
        connection.execute(
            update(Series)
            .where(Series.id == number)
            .values(newest=recent[0].record_id, noise=noise(figures))
        )


def _add_conditions(connection: Connection, found: Iterable[dict[str, Any]]) -> None:
    known = {row["key"]: row for row in found}
    if known:
        connection.execute(upsert(Conditions).on_conflict_do_nothing(), list(known.values()))


def _add_to_builds(connection: Connection, numbered: Sequence[tuple[int, RecordRows]]) -> None:
    """Note when the first record of each build started, and which is its newest."""
    started: dict[str, float] = {}
    newest: dict[str, int] = {}
    for number, one in numbered:
        build, at = one.record["build_hash"], one.record["started"]
        started[build] = min(started.get(build, at), at)
        newest[build] = max(newest.get(build, number), number)
    for build, first in started.items():
        earliest = func.min(func.coalesce(Build.measured, first), first)
        seen = {"measured": earliest, "newest": newest[build]}
        connection.execute(update(Build).where(Build.hash == build).values(seen))


def _rebuild_conditions(connection: Connection) -> None:
    one = select(func.min(Record.id)).group_by(Record.comparison_key)
    query = select(Record.document).where(Record.id.in_(one))
    documents = connection.execute(query).scalars().all()
    records = map(WireRecord.model_validate_json, documents)
    _add_conditions(connection, (rows.conditions(record.environment) for record in records))


def _rebuild_builds(connection: Connection) -> None:
    query = select(Record.build_hash, func.min(Record.started), func.max(Record.id))
    for build, measured, newest in connection.execute(query.group_by(Record.build_hash)).all():
        seen = {"measured": measured, "newest": newest}
        connection.execute(update(Build).where(Build.hash == build).values(seen))


def _recorded(
    connection: Connection,
) -> Iterator[tuple[tuple[str, str], tuple[Reason, ...], dict[str, Any], Figures]]:
    query = (
        select(
            Record.cell_id,
            Record.device,
            Record.id.label("record_id"),
            Record.build_hash,
            Record.comparison_key,
            Record.started,
            func.json(Record.invalid).label("invalid"),
            Sample.metric,
            Sample.value,
        )
        .join(Sample, Sample.record_id == Record.id)
        .where(Record.status == "ok", Sample.warmup.is_(False))
        .order_by(Record.id, Sample.id)
    )
    columns = ("record_id", "build_hash", "comparison_key", "started")
    rows = connection.execute(query, execution_options={"yield_per": 10_000})
    for (cell, device, *rest, invalid), group in groupby(rows, key=lambda row: tuple(row[:7])):
        row = dict(zip(columns, rest, strict=True))
        figures = [(sample.metric, sample.value) for sample in group]
        yield (cell, device), REASONS.validate_json(invalid), row, figures
