"""Measure again what a disturbance spoiled; the spoiled record is kept, marked."""

from __future__ import annotations

from collections.abc import Iterable

from worker.job import Job
from worker.machine.readiness import LASTING
from worker.record import Record


def again(records: Iterable[Record]) -> list[Job]:
    """Return a job for each invalid record, the next repetition of its cell.

    None for a host that no wait mends, such as one on battery.
    """
    return [
        record.job.model_copy(update={"repetition": record.job.repetition + 1})
        for record in records
        if not record.failure and any(not reason.startswith(LASTING) for reason in record.invalid)
    ]
