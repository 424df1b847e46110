"""A fresh interpreter for each job: crashes and deadlines end in a record too."""

from __future__ import annotations

import fcntl
import logging
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from pydantic import ValidationError

from worker.job import Job, Order
from worker.process import harness
from worker.record import Failure, Record

LOG = logging.getLogger(__name__)

#: How much of a log a record keeps, in characters.
LOG_TAIL = 4000


def launch(order: Order, builds: Path, lock: Path) -> Record:
    """Run one job in a new process, alone on this machine, and return its record.

    ``lock`` is a file that everything which measures on this machine takes; waiting for it does
    not count towards the job's deadline. The job's whole process group is killed at the deadline
    and when the caller is interrupted.
    """
    started, deadline = time.time(), order.job.deadline
    with (
        exclusive(lock),
        tempfile.TemporaryFile("w+") as log,
        _start(order.job, builds, log) as process,
    ):
        begun = time.perf_counter()
        try:
            output, _ = process.communicate(order.model_dump_json() + "\n", timeout=deadline)
        except subprocess.TimeoutExpired:
            _kill(process)
            failure = Failure(
                kind="deadline",
                message=f"not done after {deadline:g} s",
                remedy="give the cell a longer deadline, or less to do",
                log=_tail(log),
            )
            return Record(**dict(order), status="failed", started=started, failure=failure)
        finally:
            _kill(process)
        return _record(order, process.returncode, output, _tail(log), started, begun)


@contextmanager
def exclusive(lock: Path) -> Iterator[None]:
    """Hold a machine's lock: two jobs on one machine are never measured at once.

    Waiting for it is logged.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            LOG.warning("another job is measuring on this machine: waiting until it is done")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _start(job: Job, builds: Path, log: IO[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        harness.command("worker", "--builds", str(builds), "--owner", str(os.getpid())),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        text=True,
        start_new_session=True,
        env=harness.environment() | {"PYTHONDONTWRITEBYTECODE": "1", "TURBOFARM_JOB": job.id},
    )


def _kill(process: subprocess.Popen[str]) -> None:
    """End what is left of the job's process group; the group is gone if nothing is."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()


def _record(
    order: Order, status: int, output: str, log: str, started: float, begun: float
) -> Record:
    last = output.rstrip("\n").rpartition("\n")[2]
    try:
        return Record.model_validate_json(last)
    except ValidationError:
        failure = Failure(
            kind="crash",
            message=_cause(status),
            remedy="its log is on the dashboard's page Run",
            log=log,
        )
        return Record(
            **dict(order),
            status="failed",
            started=started,
            phases={"start": time.perf_counter() - begun},
            failure=failure,
        )


def _cause(status: int) -> str:
    if status >= 0:
        return f"the worker ended with status {status} and no record"
    name = signal.Signals(-status).name
    hint = ", perhaps for want of memory" if name == "SIGKILL" else ""
    return f"the worker was ended by {name}{hint}"


def _tail(log: IO[str]) -> str:
    log.seek(0)
    return log.read()[-LOG_TAIL:]
