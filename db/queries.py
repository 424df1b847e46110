"""Every read: one function a question."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Any

from sqlalchemy import Engine, func, select

from db.models import Cell, Job, Record, Run, Sample
from worker.job import Job as WireJob
from worker.record import Record as WireRecord


@dataclass(frozen=True)
class RunSummary:
    """A run and how far it came."""

    id: str
    suite: str
    started: float
    finished: float | None
    wall: float
    jobs: int
    records: int
    failed: int


def runs(engine: Engine, limit: int = 100) -> list[RunSummary]:
    """Return the newest runs first."""
    jobs = select(func.count()).where(Job.run_id == Run.id).scalar_subquery()
    done = select(func.count()).where(Record.run_id == Run.id).scalar_subquery()
    failed = (
        select(func.count())
        .where(Record.run_id == Run.id, Record.status == "failed")
        .scalar_subquery()
    )
    query = (
        select(Run.id, Run.suite, Run.started, Run.finished, Run.wall, jobs, done, failed)
        .order_by(Run.started.desc(), Run.id)
        .limit(limit)
    )
    with engine.connect() as connection:
        return [RunSummary(*row) for row in connection.execute(query)]


def pending_jobs(engine: Engine, run: str) -> list[WireJob]:
    """Return the jobs of a run that have no record yet, in their order."""
    query = (
        select(Job.document)
        .outerjoin(Record, Record.job_id == Job.id)
        .where(Job.run_id == run, Record.id.is_(None))
        .order_by(Job.position)
    )
    with engine.connect() as connection:
        return [WireJob.model_validate(document) for (document,) in connection.execute(query)]


def records(engine: Engine, run: str) -> list[WireRecord]:
    """Return the records of a run as they came, in the order of its jobs."""
    query = (
        select(Record.document)
        .join(Job, Job.id == Record.job_id)
        .where(Record.run_id == run)
        .order_by(Job.position)
    )
    with engine.connect() as connection:
        return [WireRecord.model_validate_json(text) for (text,) in connection.execute(query)]


def typical_seconds(engine: Engine) -> dict[tuple[str, str], float]:
    """Return, for each (cell, host), how long its last good record took: for estimates."""
    query = (
        select(Record.cell_id, Record.host, Record.document)
        .where(Record.status == "ok")
        .order_by(Record.started.desc())
        .limit(500)
    )
    seconds: dict[tuple[str, str], float] = {}
    with engine.connect() as connection:
        for cell, host, document in connection.execute(query):
            phases = WireRecord.model_validate_json(document).phases
            seconds.setdefault((cell, host), sum(phases.values()))
    return seconds


def wall(engine: Engine, run: str) -> float:
    """Return the seconds that ``farm run`` was at work on a run."""
    with engine.connect() as connection:
        return connection.execute(select(Run.wall).where(Run.id == run)).scalar_one()


@dataclass(frozen=True)
class Value:
    """The median of one metric of one record, warm-ups excluded."""

    run: str
    record: int
    host: str
    device: str
    comparison_key: str
    build: str
    started: float
    benchmark: str
    model: str | None
    cache: str | None
    context: int | None
    metric: str
    invalid: bool
    value: float
    low: float
    high: float
    trials: int


def devices(engine: Engine) -> list[str]:
    """Return the devices that have records."""
    with engine.connect() as connection:
        return list(connection.scalars(select(Record.device).distinct().order_by(Record.device)))


def samples(engine: Engine, record: int) -> list[dict[str, Any]]:
    """Return every raw sample of a record, warm-ups included."""
    query = (
        select(Sample.metric, Sample.trial, Sample.warmup, Sample.value, Sample.labels)
        .where(Sample.record_id == record)
        .order_by(Sample.id)
    )
    with engine.connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]


def record(engine: Engine, record_id: int) -> WireRecord | None:
    """Return one record, or None if there is none of that number."""
    query = select(Record.document).where(Record.id == record_id)
    with engine.connect() as connection:
        document = connection.execute(query).scalar()
    return None if document is None else WireRecord.model_validate_json(document)


def values(engine: Engine, run: str | None = None, *, limit: int = 20_000) -> list[Value]:
    """Return the median of each metric of each good record, newest first; all runs by default."""
    query = (
        select(
            Record.run_id,
            Record.id,
            Record.host,
            Record.device,
            Record.comparison_key,
            Record.build_hash,
            Record.started,
            Cell.benchmark,
            Cell.model,
            Cell.cache,
            Cell.context,
            Sample.metric,
            func.json_array_length(Record.invalid) > 0,
            Sample.value,
        )
        .join(Cell, Cell.id == Record.cell_id)
        .join(Sample, Sample.record_id == Record.id)
        .where(Record.status == "ok", Sample.warmup.is_(False))
        .order_by(Record.started.desc(), Record.id, Sample.metric)
        .limit(limit)
    )
    if run is not None:
        query = query.where(Record.run_id == run)
    groups: dict[tuple[Any, ...], list[float]] = {}
    with engine.connect() as connection:
        for *key, figure in connection.execute(query):
            groups.setdefault(tuple(key), []).append(figure)
    return [
        Value(*(*key, median(some), min(some), max(some), len(some)))
        for key, some in groups.items()
    ]
