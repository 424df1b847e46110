"""Every write. Storing the same thing twice stores it once."""

from __future__ import annotations

import time
from collections.abc import Sequence

from sqlalchemy import Connection, Engine, case, insert, null, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from db import rollup
from db.models import Build, Cell, Job, Record, Run, Sample
from worker import job as wire
from worker.record import Record as WireRecord


def record_run(
    engine: Engine, run: str, suite: str, started: float, jobs: Sequence[wire.Job]
) -> None:
    """Store a run with the jobs that it will do, in their order."""
    with engine.begin() as connection:
        row = {"id": run, "suite": suite, "started": started}
        connection.execute(upsert(Run).values(row).on_conflict_do_nothing())
        for position, job in enumerate(jobs):
            _record_job(connection, job, position)


def record_result(engine: Engine, record: WireRecord) -> bool:
    """Store a job's record with its samples; return False if the job already had one.

    The record's run must be known; see ``record_run``.
    """
    job = record.job
    with engine.begin() as connection:
        # The first statement is a write: it takes the lock before anything is read.
        stored = connection.execute(
            upsert(Record)
            .values(
                job_id=job.id,
                run_id=job.run,
                cell_id=job.cell.id,
                build_hash=job.build.hash,
                host=job.host,
                device=record.environment.device,
                comparison_key=record.environment.comparison_key,
                status=record.status,
                started=record.started,
                invalid=list(record.invalid),
                document=record.model_dump_json(),
            )
            .on_conflict_do_nothing()
            .returning(Record.id)
        ).scalar()
        if stored is None:
            return False
        if record.samples:
            rows = [{"record_id": stored, **sample.model_dump()} for sample in record.samples]
            connection.execute(insert(Sample), rows)
        rollup.add_record(connection, stored, record)
    return True


def record_wall(engine: Engine, run: str, seconds: float) -> None:
    """Add wall time to a run, and note when it finished if all its jobs have records."""
    pending = select(Job.id).outerjoin(Record, Record.job_id == Job.id)
    pending = pending.where(Job.run_id == run, Record.id.is_(None))
    finished = case((pending.exists(), null()), else_=time.time())
    with engine.begin() as connection:
        connection.execute(
            update(Run).where(Run.id == run).values(wall=Run.wall + seconds, finished=finished)
        )


def _record_job(connection: Connection, job: wire.Job, position: int) -> None:
    cell, build = job.cell, job.build
    context = cell.params.get("context")
    rows = (
        upsert(Build).values(hash=build.hash, commit=build.commit, dirty=build.dirty),
        upsert(Cell).values(
            id=cell.id,
            benchmark=cell.benchmark,
            model=cell.model,
            cache=cell.cache.label if cell.cache else None,
            context=context if isinstance(context, int) else None,
            document=cell.model_dump(mode="json"),
        ),
        upsert(Job).values(
            id=job.id,
            run_id=job.run,
            position=position,
            cell_id=cell.id,
            build_hash=build.hash,
            host=job.host,
            document=job.model_dump(mode="json"),
        ),
    )
    for row in rows:
        connection.execute(row.on_conflict_do_nothing())
