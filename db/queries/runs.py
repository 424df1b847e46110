"""Runs, and the records that came of their jobs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from statistics import median

from sqlalchemy import Engine, func, select

from db.models import Cell, Job, Record, Run
from db.validity import spoiled
from worker.job import Job as WireJob
from worker.record import Record as WireRecord


@dataclass(frozen=True)
class RunSummary:
    """A run and how far it came; ``origin`` says who measured it, None for this farm."""

    id: str
    suite: str
    started: float
    finished: float | None
    wall: float
    jobs: int
    records: int
    failed: int
    origin: str | None = None


def runs(engine: Engine, limit: int = 100) -> list[RunSummary]:
    """Return the newest runs first."""
    jobs = select(func.count()).where(Job.run_id == Run.id).scalar_subquery()
    done = select(func.count()).where(Record.run_id == Run.id).scalar_subquery()
    failed = (
        select(func.count())
        .where(Record.run_id == Run.id, Record.status == "failed")
        .scalar_subquery()
    )
    columns = (Run.id, Run.suite, Run.started, Run.finished, Run.wall)
    query = (
        select(*columns, jobs, done, failed, Run.origin)
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


def measured(engine: Engine, build: str) -> set[tuple[str, str]]:
    """Return the (cell, host) pairs, as asked for, of which a build's figures count."""
    query = (
        select(Record.cell_id, Job.host)
        .join(Job, Job.id == Record.job_id)
        .where(Record.build_hash == build, Record.status == "ok")
        .where(~spoiled())
    )
    with engine.connect() as connection:
        return {(cell, host) for cell, host in connection.execute(query)}


def cell_records(engine: Engine, build: str, cell: str, host: str) -> list[WireRecord]:
    """Return the good records of a cell, a build and the host asked for, oldest first.

    Those that others measured do not count, nor figures under other conditions than the newest
    record of that host.
    """
    of_host = select(Record, Job.host).join(Job, Job.id == Record.job_id)
    of_host = of_host.join(Run, Run.id == Record.run_id)
    of_host = of_host.where(Job.host == host, Run.origin.is_(None), Record.status == "ok")
    newest = of_host.with_only_columns(Record.comparison_key)
    newest = newest.order_by(Record.started.desc(), Record.id.desc()).limit(1)
    query = (
        of_host.with_only_columns(Record.document)
        .where(Record.build_hash == build, Record.cell_id == cell)
        .where(Record.comparison_key == newest.scalar_subquery())
        .order_by(Record.started, Record.id)
    )
    with engine.connect() as connection:
        return [WireRecord.model_validate_json(text) for (text,) in connection.execute(query)]


def typical_seconds(engine: Engine) -> dict[tuple[str, str], float]:
    """Return, for each (cell, host), how long its last good record took: for estimates."""
    seconds: dict[tuple[str, str], float] = {}
    for cell, host, _, taken in _taken(engine):
        seconds.setdefault((cell, host), taken)
    return seconds


def benchmark_seconds(engine: Engine) -> dict[tuple[str, str], float]:
    """Return, for each (benchmark, host), how long its last good records took in the middle."""
    seconds: dict[tuple[str, str], list[float]] = {}
    for _, host, benchmark, taken in _taken(engine):
        seconds.setdefault((benchmark, host), []).append(taken)
    return {key: median(some) for key, some in seconds.items()}


def _taken(engine: Engine) -> list[tuple[str, str, str, float]]:
    """Return the cell, host, benchmark and seconds of the newest good records, newest first."""
    phases = func.json_extract(Record.document, "$.phases")
    query = (
        select(Record.cell_id, Record.host, Cell.benchmark, phases)
        .join(Cell, Cell.id == Record.cell_id)
        .where(Record.status == "ok")
        .order_by(Record.started.desc())
        .limit(500)
    )
    with engine.connect() as connection:
        return [
            (cell, host, benchmark, sum(json.loads(text or "{}").values()))
            for cell, host, benchmark, text in connection.execute(query)
        ]


def wall(engine: Engine, run: str) -> float:
    """Return the seconds that ``farm run`` was at work on a run."""
    with engine.connect() as connection:
        return connection.execute(select(Run.wall).where(Run.id == run)).scalar_one()
