"""Writes: runs, records, commits, what the judge decided. The same thing twice is stored once."""

from __future__ import annotations

import time
from collections.abc import Sequence

from sqlalchemy import Connection, Engine, case, insert, null, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from db import rollup
from db.models import (
    Attempt,
    Build,
    Cell,
    Commit,
    Job,
    LateRecord,
    Record,
    Regression,
    Run,
    Sample,
    Suspect,
    Verdict,
)
from db.queries.commits import Description
from db.verdicts import RegressionRow, SuspectRow, VerdictRow
from worker import job as wire
from worker.machine.reasons import REASONS
from worker.record import Record as WireRecord


def record_run(
    engine: Engine, run: str, suite: str, started: float, jobs: Sequence[wire.Job]
) -> None:
    """Store a run with the jobs that it will do, in their order."""
    with engine.begin() as connection:
        _record_run(connection, run, suite, started)
        for position, job in enumerate(jobs):
            _record_job(connection, job, position)


def import_records(engine: Engine, records: Sequence[WireRecord], origin: str | None) -> int:
    """Store records with their runs and jobs, all of them or none; return how many are new.

    ``origin`` says who measured them, None for this farm.
    """
    new = 0
    with engine.begin() as connection:
        for position, record in enumerate(records):
            _record_run(connection, record.job.run, "imported", record.started, origin)
            _record_job(connection, record.job, position)
            new += _record_result(connection, record)
        for run in dict.fromkeys(record.job.run for record in records):
            _record_wall(connection, run, 0.0)
    return new


def record_result(engine: Engine, record: WireRecord) -> bool:
    """Store a job's record with its samples; return whether it counts.

    It does not if the job has a record already, or another attempt at it is under way: then it is
    kept as late, for audit, unless it is the same attempt's, delivered twice. The record's run must
    be known; see ``record_run``.
    """
    with engine.begin() as connection:
        # The first statement is a write: it takes the lock before anything is read.
        return _record_result(connection, record)


def record_commits(engine: Engine, commits: Sequence[Description]) -> None:
    """Store what commits say of themselves."""
    with engine.begin() as connection:
        for commit in commits:
            row = upsert(Commit).values(vars(commit))
            connection.execute(row.on_conflict_do_update(["name"], set_=vars(commit)))


def _record_run(
    connection: Connection, run: str, suite: str, started: float, origin: str | None = None
) -> None:
    row = {"id": run, "suite": suite, "started": started, "origin": origin}
    connection.execute(upsert(Run).values(row).on_conflict_do_nothing())


def _record_result(connection: Connection, record: WireRecord) -> bool:
    job = record.job
    _end_attempt(connection, record)
    if _leased_again(connection, record):
        _keep_late(connection, record)
        return False
    stored = connection.execute(
        upsert(Record)
        .values(
            job_id=job.id,
            run_id=job.run,
            cell_id=job.cell.id,
            build_hash=job.build.hash,
            host=record.place,
            device=record.environment.device,
            comparison_key=record.environment.comparison_key,
            status=record.status,
            started=record.started,
            invalid=REASONS.dump_python(record.invalid, mode="json"),
            document=record.model_dump_json(),
        )
        .on_conflict_do_nothing()
        .returning(Record.id)
    ).scalar()
    if stored is None:
        _keep_late(connection, record)
        return False
    if record.samples:
        rows = [{"record_id": stored, **sample.model_dump()} for sample in record.samples]
        connection.execute(insert(Sample), rows)
    rollup.add_record(connection, stored, record)
    return True


def _end_attempt(connection: Connection, record: WireRecord) -> None:
    """Note that an attempt has brought its record, even one that had been given up."""
    if _is_lost(record):
        return
    of = (Attempt.job_id == record.job.id, Attempt.number == record.attempt)
    values = {"state": "done", "ended": time.time()}
    connection.execute(update(Attempt).where(*of, Attempt.state != "done").values(values))


def _leased_again(connection: Connection, record: WireRecord) -> bool:
    leased = (Attempt.job_id == record.job.id, Attempt.state == "leased")
    return connection.execute(select(Attempt.id).where(*leased)).first() is not None


def _keep_late(connection: Connection, record: WireRecord) -> None:
    """Keep a record that does not count, if it is another than the one that does."""
    for table in (Record, LateRecord):
        documents = select(table.document).where(table.job_id == record.job.id)
        for (document,) in connection.execute(documents):
            known = WireRecord.model_validate_json(document)
            if (known.attempt, _is_lost(known)) == (record.attempt, _is_lost(record)):
                return
    row = {
        "job_id": record.job.id,
        "attempt": record.attempt,
        "host": record.place,
        "received": time.time(),
        "document": record.model_dump_json(),
    }
    connection.execute(insert(LateRecord).values(row))


def _is_lost(record: WireRecord) -> bool:
    """Tell whether a record was made for want of one."""
    return record.failure is not None and record.failure.kind == "lost"


def record_wall(engine: Engine, run: str, seconds: float) -> None:
    """Add wall time to a run, and note when it finished if all its jobs have records."""
    with engine.begin() as connection:
        _record_wall(connection, run, seconds)


def _record_wall(connection: Connection, run: str, seconds: float) -> None:
    pending = select(Job.id).outerjoin(Record, Record.job_id == Job.id)
    pending = pending.where(Job.run_id == run, Record.id.is_(None))
    finished = case((pending.exists(), null()), else_=time.time())
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


def record_verdicts(engine: Engine, rows: Sequence[VerdictRow]) -> None:
    """Store verdicts; one that is there already stays as it is."""
    with engine.begin() as connection:
        for row in rows:
            values = vars(row) | {"run_id": row.run, "cell_id": row.cell.id}
            del values["run"], values["cell"]
            connection.execute(upsert(Verdict).values(values).on_conflict_do_nothing())


def record_suspect(engine: Engine, row: SuspectRow) -> None:
    values = {
        "cell_id": row.series.cell,
        "device": row.series.device,
        "metric": row.series.metric,
        "commit": row.commit,
        "asked": row.asked,
        "changed": row.changed,
    }
    with engine.begin() as connection:
        connection.execute(upsert(Suspect).values(values))


def record_regression(engine: Engine, row: RegressionRow) -> int:
    """Store a regression, or its new state if it has an ``id``; return the ``id``."""
    values = vars(row) | {"document": {"series": [dict(one) for one in row.series]}}
    del values["series"], values["id"]
    with engine.begin() as connection:
        if row.id is not None:
            connection.execute(update(Regression).where(Regression.id == row.id).values(values))
            return row.id
        added = upsert(Regression).values(values).returning(Regression.id)
        return int(connection.execute(added).scalar_one())
