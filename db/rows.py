"""A record as the tables take it, made before the database is locked for it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from worker import job as wire
from worker.machine.reasons import REASONS
from worker.metrics import typical
from worker.record import Environment
from worker.record import Record as WireRecord

Row = dict[str, Any]


@dataclass(frozen=True)
class JobRows:
    """A job, with the build and the cell that it names."""

    job: Row
    build: Row
    cell: Row


@dataclass(frozen=True)
class RecordRows:
    """A record with its samples, which lack its number, and what they sum up to.

    ``points`` are (metric, figures); ``conditions`` the facts behind its comparison key.
    """

    attempt: int
    is_lost: bool
    record: Row
    samples: list[Row]
    conditions: Row
    points: list[tuple[str, Row]]

    @property
    def job(self) -> str:
        name: str = self.record["job_id"]
        return name


def of_job(job: wire.Job, position: int) -> JobRows:
    """Return the rows of a job at a place of its run."""
    cell, build = job.cell, job.build
    context = cell.params.get("context")
    cell_id = cell.id
    return JobRows(
        job={
            "id": job.id,
            "run_id": job.run,
            "position": position,
            "cell_id": cell_id,
            "build_hash": build.hash,
            "host": job.host,
            "document": job.model_dump(mode="json"),
        },
        build={"hash": build.hash, "commit": build.commit, "dirty": build.dirty},
        cell={
            "id": cell_id,
            "benchmark": cell.benchmark,
            "model": cell.model,
            "cache": cell.cache.label if cell.cache else None,
            "context": context if isinstance(context, int) else None,
            "document": cell.model_dump(mode="json"),
        },
    )


def of_record(record: WireRecord, job: JobRows) -> RecordRows:
    """Return the rows of a record of a job; only one that is ok has points."""
    environment, asked = record.environment, job.job
    facts = conditions(environment)
    return RecordRows(
        attempt=record.attempt,
        is_lost=is_lost(record),
        record={
            "job_id": asked["id"],
            "run_id": asked["run_id"],
            "cell_id": asked["cell_id"],
            "build_hash": asked["build_hash"],
            "host": record.place,
            "device": environment.device,
            "comparison_key": facts["key"],
            "status": record.status,
            "started": record.started,
            "invalid": REASONS.dump_python(record.invalid, mode="json"),
            "document": record.model_dump_json(),
        },
        samples=[sample.model_dump() for sample in record.samples],
        conditions=facts,
        points=list(_points(record)) if record.status == "ok" else [],
    )


def conditions(environment: Environment) -> Row:
    """Return the facts that decide whether records may be compared, under the key of them."""
    facts = {name: environment.facts.get(name, "unknown") for name in environment.comparable}
    return {"key": environment.comparison_key, "facts": facts}


def is_lost(record: WireRecord) -> bool:
    """Tell whether a record was made for want of one."""
    return record.failure is not None and record.failure.kind == "lost"


def by_metric(figures: Iterable[tuple[str, float]]) -> Iterator[tuple[str, Row]]:
    """Sum up (metric, value): the typical figure of each metric, and the range."""
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


def _points(record: WireRecord) -> Iterator[tuple[str, Row]]:
    counted = ((sample.metric, sample.value) for sample in record.samples if not sample.warmup)
    for metric, figures in by_metric(counted):
        yield metric, {"valid": record.counts(metric), **figures}
