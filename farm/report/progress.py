"""Live progress on standard error, with an estimate of the time left."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from statistics import mean

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from farm.report.live import showing
from farm.report.run import job_name, record_name
from worker.job import Job
from worker.record import Record

Expected = dict[tuple[str, str], float]


def watched(
    jobs: Sequence[Job], run: Callable[[Iterable[Job]], Iterator[Record]], expected: Expected
) -> Iterator[Record]:
    """Yield the records of ``run(jobs)`` while a bar shows what is under way.

    ``expected`` holds seconds for a (cell, host) measured before; the estimate takes the mean of
    this run's jobs for the others. Without a terminal, one line a record is printed instead.
    """
    console = Console(stderr=True)
    seconds: list[float] = []
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
        console=console,
        disable=not console.is_terminal,
        redirect_stdout=False,
    )
    with showing(progress) as bar:
        task = bar.add_task(job_name(jobs[0]) if jobs else "", total=len(jobs), left="")
        to_do = {job.id: job for job in jobs}
        for done, record in enumerate(run(jobs), start=1):
            seconds.append(sum(record.phases.values()))
            del to_do[record.job.id]
            rest = list(to_do.values())
            left = _longest(rest, expected, mean(seconds))
            bar.update(
                task,
                completed=done,
                description=job_name(rest[0]) if rest else "done",
                left=f"about {_clock(left)} left" if rest else "",
            )
            if not console.is_terminal or record.status == "failed":
                console.print(_line(record, done, len(jobs), left), soft_wrap=True, markup=False)
            yield record


def _longest(rest: Sequence[Job], expected: Expected, usual: float) -> float:
    """Return the seconds of the host that has most to do: hosts work side by side."""
    totals: dict[str, float] = {}
    for job in rest:
        seconds = expected.get((job.cell.id, job.host), usual)
        totals[job.host] = totals.get(job.host, 0.0) + seconds
    return max(totals.values(), default=0.0)


def _line(record: Record, done: int, total: int, left: float) -> str:
    outcome = f"{sum(record.phases.values()):.1f} s"
    if record.failure:
        outcome = f"FAILED ({record.failure.kind}): {record.failure.message}"
    return f"[{done}/{total}] {record_name(record)}: {outcome}; about {_clock(left)} left"


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
