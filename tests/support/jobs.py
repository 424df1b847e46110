"""Jobs, builds and records for tests, each with what a test does not care for filled in."""

from __future__ import annotations

import os
import select
from pathlib import Path

from worker.build import files_hash
from worker.job import Build, Cache, Cell, Job
from worker.machine.reasons import Reason
from worker.record import Record, Sample

#: What a busy machine leaves on a record; spoils speeds.
BUSY = (Reason.of("busy", cores=0.8),)


def unpacked_build(builds: Path, source: str) -> Build:
    """Unpack a subject of one file with the given source."""
    name = files_hash([("__init__.py", source.encode())])
    folder = builds / name / "turbo"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "__init__.py").write_text(source)
    return Build(hash=name)


def job(build: Build | None = None, **changes) -> Job:
    """Make a job; without changes it asks for the memory of a turbo cache of no model."""
    cell = Cell(benchmark="memory", cache=Cache(name="turbo"))
    given = {"run": "run-1", "host": "local", "build": build or Build(hash="0" * 16), "cell": cell}
    return Job(**(given | changes))


def record(of: Job | None = None, *, values: tuple[float, ...] = (1.0, 2.0, 3.0), **changes):
    """Make a good record with these values of ``generation_tps``."""
    samples = tuple(
        Sample(metric="generation_tps", value=value, trial=trial)
        for trial, value in enumerate(values)
    )
    given = {"job": of or job(), "status": "ok", "started": 1.0, "samples": samples}
    return Record(**(given | changes))


def ended(pid: int) -> bool:
    """Tell if a process has ended; one that was just killed is given the time to."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], 30)[0])
    finally:
        os.close(handle)
