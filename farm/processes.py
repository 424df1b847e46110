"""The local engine: one fresh process a job, one job at a time on this machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from worker.job import Job
from worker.launch import launch
from worker.record import Record

#: One for each machine and user: several farms and hosts on one machine take turns.
LOCK = Path("~/.cache/turbofarm/device.lock").expanduser()


def processes(jobs: Iterable[Job], builds: Path, lock: Path = LOCK) -> Iterator[Record]:
    """Run jobs of hosts that are this machine, in order; yield each record as it is there."""
    for job in jobs:
        yield launch(job, builds, lock)
