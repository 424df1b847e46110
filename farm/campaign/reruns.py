"""Measure again what a disturbance spoiled; the spoiled figures are kept, marked."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from worker.job import Job
from worker.record import Record


def again(records: Iterable[Record], done: Iterable[Record]) -> list[Job]:
    """Return the jobs that are measured again: those of ``records`` with figures that do not count.

    A speed is measured again beside the one that it is compared with, as a round of its own, after
    those that are ``done`` in the run. None for a host that no wait mends, such as one on battery,
    and none for a failure.
    """
    spoiled = {record.name for record in records if _mendable(record)}
    rounds: dict[tuple[str, str, int], list[Record]] = {}
    last: dict[tuple[str, str], int] = {}
    for record in done:
        job = record.job
        beside = (job.host, job.cell.comparison)
        rounds.setdefault((*beside, job.repetition), []).append(record)
        last[beside] = max(job.repetition, last.get(beside, 0))
    jobs = []
    for (host, comparison, _), some in rounds.items():
        if again := _of_round(some, spoiled):
            last[host, comparison] += 1
            number = last[host, comparison]
            jobs += [one.job.model_copy(update={"repetition": number}) for one in again]
    return jobs


def _of_round(beside: Sequence[Record], spoiled: Collection[str]) -> list[Record]:
    """Return the records of one round that are measured again."""
    bad = [record for record in beside if record.name in spoiled]
    if any(record.job.cell.is_baseline for record in bad):
        return [record for record in beside if not record.failure]
    return [one for one in beside if one in bad or (bad and one.job.cell.is_baseline)]


def _mendable(record: Record) -> bool:
    passing = all(reason.passes for reason in record.invalid)
    return not record.failure and bool(record.spoiled) and passing
