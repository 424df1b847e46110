"""Cheap readings of the machine, taken while a benchmark is being timed."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import psutil

from worker.machine import programs
from worker.machine.environment.cgroup import GroupFile
from worker.machine.environment.source import Output

#: Seconds between readings; one takes about 0.2 ms, so a second of timing loses less than 1 ms.
INTERVAL = 0.25

T = TypeVar("T")

PRESSURE = Path("/proc/pressure/memory")
REFUSED = GroupFile("memory.events", "memory", "memory.failcnt")


@dataclass(frozen=True)
class Moment:
    """One reading: clocks and processor times in seconds, memory in bytes.

    ``own`` is the processor time of this process and of programs that it measures, ``busy`` that
    of the machine, ``stolen`` what a hypervisor gave to others, all since some start. ``stalled``
    is the time that somebody waited for memory and ``refused`` how often the control group was at
    its memory limit; None where the system does not tell.
    """

    monotonic: float
    wall: float
    own: float
    busy: float
    stolen: float
    swap_used: int
    available: int
    stalled: float | None = None
    refused: int | None = None


def read() -> Moment:
    """Read all at once."""
    times = psutil.cpu_times()
    interrupts = getattr(times, "irq", 0.0) + getattr(times, "softirq", 0.0)
    return Moment(
        monotonic=time.monotonic(),
        wall=time.time(),
        own=time.process_time() + programs.seconds(),
        busy=times.user + times.system + times.nice + interrupts,
        stolen=getattr(times, "steal", 0.0),
        swap_used=psutil.swap_memory().used,
        available=psutil.virtual_memory().available,
        stalled=_stalled(),
        refused=_refused(REFUSED.read()),
    )


def _stalled() -> float | None:
    try:
        total = re.search(r"^some .* total=(\d+)$", PRESSURE.read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(total[1]) / 1e6 if total else None


def _refused(output: Output) -> int | None:
    """Read memory.events of version 2 or memory.failcnt of version 1."""
    count = re.search(r"^(?:max )?(\d+)$", output.text, re.MULTILINE)
    return int(count[1]) if count else None


class Sampler(Generic[T]):
    """A thread that takes a reading every ``interval`` seconds, and one at ``stop``."""

    def __init__(self, reading: Callable[[], T], interval: float) -> None:
        self.taken: list[T] = []
        self._reading = reading
        self._interval = interval
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()
        self.taken.append(self._reading())

    def _sample(self) -> None:
        while not self._stopped.wait(self._interval):
            self.taken.append(self._reading())
