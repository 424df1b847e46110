"""``farm`` whose jobs are forks of its own interpreter: ``python farm_in_one.py run ...``.

For tests that ask what cells measure. That each job is a fresh process, alone on its machine, with
a deadline, and that hosts are lost and found, is for others.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import mlx_lm  # noqa: F401  what every job would import

import farm.commands.gate
import farm.commands.run
import worker.run
from farm.__main__ import main
from farm.campaign import campaign
from worker.job import Job, Order
from worker.record import Record


@contextmanager
def open_dispatch(known, database, tell) -> Iterator:
    """Stand in for the coordinator's dispatch."""
    yield partial(_records, known.state / "builds")


def _records(builds: Path, jobs: Iterable[Job]) -> Iterator[Record]:
    for job in jobs:
        yield _forked(Order(job=job, attempt=1, host=job.host), builds)


def _forked(order: Order, builds: Path) -> Record:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.dup2(2, 1)  # whatever else prints is no record
        with os.fdopen(writing, "w") as pipe:
            pipe.write(worker.run.run(order, builds, 0.0).model_dump_json())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    os.waitpid(pid, 0)
    return Record.model_validate_json(text)


def run(words: Sequence[str]) -> int:
    for module in (campaign, farm.commands.run):
        module.open_dispatch = open_dispatch
    return main(words)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
