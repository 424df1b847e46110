"""Write records into a database as a farm at work does, for timing pages meanwhile."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import count

from sqlalchemy import Engine

from db import queries, store
from worker.record import Record

REPETITIONS = 10_000  # that a run may ask of a cell


def records(engine: Engine, run: str) -> Iterator[Record]:
    """Yield new records without end: the newest one, as of other jobs of a new run."""
    last = queries.last_records(engine)[0]
    model = queries.record(engine, last)
    if model is None:
        raise SystemExit("the database has no record to take as a model")
    for number in count():
        part, repetition = divmod(number, REPETITIONS)
        job = model.job.model_copy(update={"run": f"{run}-{part}", "repetition": repetition})
        yield model.model_copy(update={"job": job, "attempt": 1, "started": time.time()})


def write(engine: Engine, record: Record) -> None:
    """Store one record with its run and job."""
    store.record_run(engine, record.job.run, "bench", record.started, [record.job])
    store.record_result(engine, record)
