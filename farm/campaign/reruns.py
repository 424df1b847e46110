"""Measure again what a disturbance spoiled; the spoiled figures are kept, marked."""

from __future__ import annotations

from collections.abc import Iterable

from worker.job import Job
from worker.record import Record


def again(records: Iterable[Record]) -> list[Job]:
    """Return a job for each record with figures that do not count: its cell's next repetition.

    None for a host that no wait mends, such as one on battery.
    """
    return [
        record.job.model_copy(update={"repetition": record.job.repetition + 1})
        for record in records
        if not record.failure and record.spoiled and all(reason.passes for reason in record.invalid)
    ]
