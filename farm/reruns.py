"""Measure again what a disturbance spoiled; the spoiled record is kept, marked."""

from __future__ import annotations

from collections.abc import Iterable

from worker.job import Job
from worker.readiness import LASTING
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


def counted(records: Iterable[Record]) -> list[Record]:
    """Return the records without invalid ones whose cell, host and build has a valid one."""
    found = list(records)
    valid = {_place(record) for record in found if not record.invalid and not record.failure}
    return [record for record in found if not record.invalid or _place(record) not in valid]


def _place(record: Record) -> tuple[str, str, str]:
    return record.place, record.job.build.hash, record.job.cell.id
