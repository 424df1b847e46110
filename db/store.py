"""Writes: runs, records, commits, what the judge decided. The same thing twice is stored once."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence

from sqlalchemy import Connection, Engine, case, func, insert, null, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from db import rollup, rows
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
from db.rows import JobRows, RecordRows
from db.verdicts import RegressionRow, SuspectRow, VerdictRow
from worker import job as wire
from worker.record import Record as WireRecord

AT_ONCE = 500  # jobs that one statement is about: more take memory and save no time
UNSURE = ""  # what a job is held for that must be looked at alone


def record_run(
    engine: Engine, run: str, suite: str, started: float, jobs: Sequence[wire.Job]
) -> None:
    """Store a run with the jobs that it will do, in their order."""
    found = [rows.of_job(job, position) for position, job in enumerate(jobs)]
    with engine.begin() as connection:
        _record_run(connection, run, suite, started)
        _record_jobs(connection, found)


def import_records(engine: Engine, records: Sequence[WireRecord], origin: str | None) -> int:
    """Store records with their runs and jobs, all of them or none; return how many are new.

    ``origin`` says who measured them, None for this farm. All that can be is prepared before the
    transaction, since no other program writes during it.
    """
    started: dict[str, float] = {}
    for record in records:
        started.setdefault(record.job.run, record.started)
    jobs = [rows.of_job(record.job, position) for position, record in enumerate(records)]
    found = [rows.of_record(record, job) for record, job in zip(records, jobs, strict=True)]
    with engine.begin() as connection:
        for run, begun in started.items():
            _record_run(connection, run, "imported", begun, origin)
        _record_jobs(connection, jobs)
        new = _record_results(connection, found)
        for run in started:
            _record_wall(connection, run, 0.0)
    return new


def record_result(engine: Engine, record: WireRecord) -> bool:
    """Store a job's record with its samples; return whether it counts.

    It does not if the job has a record already, or another attempt at it is under way: then it is
    kept as late, for audit, unless it is the same attempt's, delivered twice. The record's run must
    be known; see ``record_run``.
    """
    found = rows.of_record(record, rows.of_job(record.job, 0))
    with engine.begin() as connection:
        return _record_met(connection, found)


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


def _record_jobs(connection: Connection, found: Sequence[JobRows]) -> None:
    """Store jobs, with builds and cells before what refers to them."""
    builds = {one.build["hash"]: one.build for one in reversed(found)}
    cells = {one.cell["id"]: one.cell for one in reversed(found)}
    tables = ((Build, [*builds.values()]), (Cell, [*cells.values()]), (Job, [j.job for j in found]))
    for table, of_table in tables:
        if of_table:
            connection.execute(upsert(table).on_conflict_do_nothing(), of_table)


def _record_results(connection: Connection, found: Sequence[RecordRows]) -> int:
    """Store records of known runs; return how many count."""
    met = _jobs_met(connection, found)
    new = [one for one in found if one.job not in met]
    _add(connection, new)
    others = (one for one in found if one.job in met and met[one.job] != one.record["document"])
    return len(new) + sum(_record_met(connection, one) for one in others)


def _jobs_met(connection: Connection, found: Sequence[RecordRows]) -> dict[str, str]:
    """Return the jobs whose records cannot simply be added, each with the record that it has.

    They come twice, have a record, or an attempt of theirs did not end with one: with UNSURE.
    """
    counted = Counter(one.job for one in found)
    met = {job: UNSURE for job, count in counted.items() if count > 1}
    jobs = list(counted)
    for place in range(0, len(jobs), AT_ONCE):
        some = jobs[place : place + AT_ONCE]
        known = select(Record.job_id, Record.document).where(Record.job_id.in_(some))
        met |= {row.job_id: row.document for row in connection.execute(known)}
        tried = select(Attempt.job_id).where(Attempt.job_id.in_(some), Attempt.state != "done")
        met |= dict.fromkeys(connection.execute(tried).scalars(), UNSURE)
    return met


def _record_met(connection: Connection, found: RecordRows) -> bool:
    """Store the record of a job that may have one already; return whether it counts."""
    _end_attempt(connection, found)
    known = select(Record.id).where(Record.job_id == found.job)
    leased = select(Attempt.id).where(Attempt.job_id == found.job, Attempt.state == "leased")
    if any(connection.execute(query).first() for query in (leased, known)):
        _keep_late(connection, found)
        return False
    _add(connection, [found])
    return True


def _add(connection: Connection, found: Sequence[RecordRows]) -> None:
    """Add records of jobs that have none, with their samples and points."""
    if not found:
        return
    last = connection.execute(select(func.coalesce(func.max(Record.id), 0))).scalar_one()
    numbered = list(enumerate(found, start=last + 1))
    for place in range(0, len(numbered), AT_ONCE):
        some = numbered[place : place + AT_ONCE]
        connection.execute(insert(Record), [{"id": number, **one.record} for number, one in some])
        samples = [{"record_id": number, **row} for number, one in some for row in one.samples]
        if samples:
            connection.execute(insert(Sample), samples)
    rollup.add_records(connection, numbered)


def _end_attempt(connection: Connection, found: RecordRows) -> None:
    """Note that an attempt has brought its record, even one that had been given up.

    One that was lost brought none. As a write it takes the lock, before anything is read.
    """
    ended = () if found.is_lost else ("leased", "lost")
    of = (Attempt.job_id == found.job, Attempt.number == found.attempt, Attempt.state.in_(ended))
    values = {"state": "done", "ended": time.time()}
    connection.execute(update(Attempt).where(*of).values(values))


def _keep_late(connection: Connection, found: RecordRows) -> None:
    """Keep a record that does not count, if it is another than the one that does."""
    for table in (Record, LateRecord):
        documents = select(table.document).where(table.job_id == found.job)
        for (document,) in connection.execute(documents):
            known = WireRecord.model_validate_json(document)
            if (known.attempt, rows.is_lost(known)) == (found.attempt, found.is_lost):
                return
    row = {
        "job_id": found.job,
        "attempt": found.attempt,
        "host": found.record["host"],
        "received": time.time(),
        "document": found.record["document"],
    }
    connection.execute(insert(LateRecord).values(row))


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
