"""Programs that do the work which is timed: their processor time is our own."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

#: Seconds of processor by process id; those of a process that ended stay.
_seconds: dict[int, float] = {}


def seconds() -> float:
    """Return the processor time of all programs counted so far, those that run included."""
    for child in list(_seconds):
        _seconds[child] = max(_seconds[child], _used(child))
    return sum(_seconds.values())


@contextmanager
def counted(child: int) -> Iterator[None]:
    """Count a child process, by its id; the block must wait for its end."""
    before = _reaped()
    _seconds[child] = 0.0
    try:
        yield
    finally:
        # What was used after the last look is known to the system once the child is reaped.
        _seconds[child] = max(_seconds[child], _reaped() - before)


def _used(child: int) -> float:
    try:
        times = psutil.Process(child).cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


def _reaped() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
