"""Programs that do the work which is timed: their processor time is our own."""

from __future__ import annotations

import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

#: Seconds of processor, as last seen, of those that run; and of each that has ended.
_running: dict[int, float] = {}
_ended: list[float] = []
#: The sampler of moments looks from a thread of its own.
_lock = threading.Lock()


def seconds() -> float:
    """Return the processor time of all programs counted so far, those that run included."""
    with _lock:
        for child, seen in _running.items():
            _running[child] = max(seen, _used(child))
        return sum(_running.values()) + sum(_ended)


@contextmanager
def counted(child: int) -> Iterator[None]:
    """Count a child process, by its id; the block must wait for its end."""
    before = _reaped()
    with _lock:
        _running[child] = 0.0
    try:
        yield
    finally:
        # What was used after the last look is known to the system once the child is reaped.
        with _lock:
            _ended.append(max(_running.pop(child), _reaped() - before))


def _used(child: int) -> float:
    try:
        times = psutil.Process(child).cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


def _reaped() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
