"""Write records into a database as a farm at work does, for timing pages meanwhile."""

from __future__ import annotations

import time
from collections.abc import Iterator

from sqlalchemy import Engine

from db import queries, store
from worker.record import Record


def records(engine: Engine, run: str) -> Iterator[Record]:
    """Yield new records without end: the newest one, as of other jobs of a new run."""
    last = queries.last_records(engine)[0]
    model = queries.record(engine, last)
    if model is None:
        raise SystemExit("the database has no record to take as a model")
    number = 0
    while True:
        number += 1
        job = model.job.model_copy(update={"run": run, "repetition": number})
        yield model.model_copy(update={"job": job, "attempt": 1, "started": time.time()})


def write(engine: Engine, record: Record) -> None:
    """Store one record with its run and job."""
    store.record_run(engine, record.job.run, "bench", record.started, [record.job])
    store.record_result(engine, record)
