"""Live progress on standard error, with an estimate of the time left."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from farm.report.forecast import Forecast, clock
from farm.report.live import showing
from farm.report.run import job_name, record_name
from worker.job import Job
from worker.record import Record


def watched(
    jobs: Sequence[Job], run: Callable[[Iterable[Job]], Iterator[Record]], forecast: Forecast
) -> Iterator[Record]:
    """Yield the records of ``run(jobs)`` while a bar shows what is under way.

    Without a terminal, one line a record is printed instead.
    """
    console = Console(stderr=True)
    _plan(jobs, forecast)
    if jobs and not console.is_terminal:
        console.print(f"{len(jobs)} jobs: {forecast.text}", highlight=False)
    with showing(_bars(console)) as bar:
        first = job_name(jobs[0]) if jobs else ""
        task = bar.add_task(first, total=len(jobs), left=forecast.text if jobs else "")
        to_do = {job.id: job for job in jobs}
        for done, record in enumerate(run(jobs), start=1):
            forecast.done(record)
            del to_do[record.job.id]
            following = next(iter(to_do.values()), None)
            bar.update(
                task,
                completed=done,
                description=job_name(following) if following else "done",
                left=forecast.text if following else "",
            )
            if not console.is_terminal or record.status == "failed":
                line = f"[{done}/{len(jobs)}] {record_line(record)}; {forecast.text}"
                console.print(line, soft_wrap=True, markup=False)
            yield record


def _plan(jobs: Sequence[Job], forecast: Forecast) -> None:
    for host in dict.fromkeys(job.host for job in jobs):
        forecast.plan(host, [job.cell for job in jobs if job.host == host])


def _bars(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}"),
        console=console,
        disable=not console.is_terminal,
        redirect_stdout=False,
    )


def record_line(record: Record) -> str:
    """Say in one line what came of a job, and what of it does not count."""
    if record.failure:
        outcome = f"FAILED ({record.failure.kind}): {record.failure.message}"
    else:
        outcome = f"{sum(record.phases.values()):.1f} s"
    if record.spoiled:
        outcome += f", {not_counting(record)}"
    return f"{record_name(record)}: {outcome}"


def not_counting(record: Record) -> str:
    """Say which figures of a record do not count, and why, in a few words."""
    kinds = dict.fromkeys(one.kind for one in record.invalid)
    return f"{', '.join(record.spoiled)} not counted ({', '.join(kinds)})"


__all__ = ["clock", "not_counting", "record_line", "watched"]
