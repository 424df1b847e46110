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

from db.models import Build, Conditions, Point, Record, Sample, Series
from worker.machine import reasons
from worker.machine.reasons import REASONS, Reason
from worker.metrics import typical
from worker.record import Environment
from worker.record import Record as WireRecord

RECENT = 30  # points: enough for a robust spread, few enough to follow a host that changes
FEWEST = 5

# A robust standard deviation is 1.4826 times the median of absolute deviations; a difference of
# two points has the square root of two times the spread of one.
SPREAD = 1.4826 / 2**0.5

Figures = Iterable[tuple[str, float]]


def noise(values: Sequence[float]) -> float | None:
    """Return the relative standard deviation from one point to the next, None for too few.

    Neighbours are compared, so that a slow drift or a few steps do not count as noise.
    """
    if len(values) < FEWEST:
        return None
    return SPREAD * median(
        abs(b - a) / max(abs(a), abs(b)) if a != b else 0.0 for a, b in pairwise(values)
    )


def add_record(connection: Connection, record_id: int, record: WireRecord) -> None:
    """Add a new record's points and what is known of its build and conditions."""
    _add_conditions(connection, record.environment)
    build = record.job.build.hash
    earliest = func.min(func.coalesce(Build.measured, record.started), record.started)
    seen = {"measured": earliest, "newest": record_id}
    connection.execute(update(Build).where(Build.hash == build).values(seen))
    if record.status != "ok":
        return
    row = {
        "record_id": record_id,
        "build_hash": build,
        "comparison_key": record.environment.comparison_key,
        "started": record.started,
    }
    series = (record.job.cell.id, record.environment.device)
    counted = ((s.metric, s.value) for s in record.samples if not s.warmup)
    for metric, figures in _by_metric(counted):
        number = _series(connection, *series, metric)
        values = {"series_id": number, "valid": record.counts(metric), **row, **figures}
        connection.execute(insert(Point).values(values))
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
        for metric, summary in _by_metric(figures):
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


def _by_metric(figures: Figures) -> Iterator[tuple[str, dict[str, float | int]]]:
    grouped: dict[str, list[float]] = {}
    for metric, value in figures:
        grouped.setdefault(metric, []).append(value)
    for metric, values in grouped.items():
        yield (
            metric,
            {
                "value": typical(metric, values),
                "low": min(values),
                "high": max(values),
                "trials": len(values),
            },
        )


def _series(connection: Connection, cell: str, device: str, metric: str) -> int:
    row = {"cell_id": cell, "device": device, "metric": metric}
    connection.execute(upsert(Series).values(row).on_conflict_do_nothing())
    return connection.execute(select(Series.id).filter_by(**row)).scalar_one()


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


def _add_conditions(connection: Connection, environment: Environment) -> None:
    facts = {name: environment.facts.get(name, "unknown") for name in environment.comparable}
    row = {"key": environment.comparison_key, "facts": facts}
    connection.execute(upsert(Conditions).values(row).on_conflict_do_nothing())


def _rebuild_conditions(connection: Connection) -> None:
    one = select(func.min(Record.id)).group_by(Record.comparison_key)
    query = select(Record.document).where(Record.id.in_(one))
    for document in connection.execute(query).scalars().all():
        _add_conditions(connection, WireRecord.model_validate_json(document).environment)


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
