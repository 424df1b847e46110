"""A fixed piece of work, timed before and after each cell: canaries reject, they never scale.

A clock that fell shows here even where the system reports no thermal pressure.
``python -m worker.machine.canary`` times it a few times and prints the readings.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import mlx.core as mx
from pydantic import TypeAdapter, ValidationError

from worker.machine.reasons import Reason

Readings = dict[str, float]
#: The file: readings by configuration.
FORM = TypeAdapter(dict[str, list[Readings]])

TRIALS = 9
# Elements of one side and of the stream: a few milliseconds on an Apple GPU and on one CPU core.
SIZES = {mx.DeviceType.gpu: (2048, 2**26), mx.DeviceType.cpu: (160, 2**22)}

#: Readings that are kept for each configuration of a host.
KEPT = 100
#: From so many readings on, the host's own spread makes the band.
ENOUGH = 8
NARROWEST = 0.05
WIDEST = 0.25
# How far beyond the slowest tenth of a host's readings the band reaches. A job has four readings,
# so 0.5 % of them may be outside for 2 % of the jobs; of an exponential tail that part begins 1.8
# times as far from the best as the slowest tenth does (bench/README.md).
MARGIN = 2.0
#: Seconds after which a reading outside is taken again. On a shared virtual machine 14 % of
#: undisturbed jobs had a reading outside, and most were inside then (bench/README.md); a clock that
#: fell, or a neighbour, lasts longer.
REST = 0.3


def measure() -> Readings:
    """Time a matrix product and a stream through memory: the best of some trials, in seconds."""
    side, length = SIZES[mx.default_device().type]
    # A key of its own: the benchmark's random state stays as it is.
    matrix = mx.random.normal((side, side), key=mx.random.key(0))
    stream = mx.arange(length, dtype=mx.float32)
    mx.eval(matrix, stream)
    return {
        "product": _best(lambda: matrix @ matrix @ matrix),
        "stream": _best(lambda: mx.sum(stream)),
    }


def _best(work: Callable[[], mx.array]) -> float:
    mx.eval(work())
    return min(_timed(work) for _ in range(TRIALS))


def _timed(work: Callable[[], mx.array]) -> float:
    mx.synchronize()
    started = time.perf_counter()
    mx.eval(work())
    mx.synchronize()
    return time.perf_counter() - started


class History:
    """The readings of a host in one configuration, in a file that its jobs share.

    Readings are kept whether the job was valid or not: the band must not feed on its own verdicts.
    """

    def __init__(self, path: Path, configuration: str) -> None:
        self._path = path
        self._configuration = configuration

    def readings(self) -> list[Readings]:
        """Return what is kept; a file that is missing or spoiled holds nothing."""
        return self._file().get(self._configuration, [])

    def add(self, readings: Readings) -> None:
        """Keep a reading; the file is replaced at once, so that nobody reads half of it."""
        file = self._file()
        file[self._configuration] = [*self.readings(), readings][-KEPT:]
        self._path.parent.mkdir(parents=True, exist_ok=True)
        draft = self._path.with_suffix(f".{os.getpid()}")
        draft.write_bytes(FORM.dump_json(file))
        draft.replace(self._path)

    def _file(self) -> dict[str, list[Readings]]:
        try:
            return FORM.validate_json(self._path.read_bytes())
        except (OSError, ValidationError):
            return {}


def better(first: Readings, second: Readings) -> Readings:
    """Return the shorter time of each kernel."""
    return {kernel: min(seconds, second[kernel]) for kernel, seconds in first.items()}


def outside(readings: Readings, history: list[Readings]) -> Iterator[Reason]:
    """Tell each kernel that took longer than the host's best and its band allow."""
    for kernel, seconds in readings.items():
        past = sorted(past[kernel] for past in history if kernel in past)
        if past and seconds > past[0] * (1 + band(past)):
            yield Reason.of("slow canary", kernel=kernel, times=seconds / past[0])


def band(past: list[float]) -> float:
    """Return how much longer than the best a reading may take, as a share of the best."""
    if len(past) < ENOUGH:
        return WIDEST
    slowest_tenth = statistics.quantiles(past, n=10)[-1]
    return min(WIDEST, max(NARROWEST, MARGIN * (slowest_tenth / min(past) - 1)))


if __name__ == "__main__":
    sys.stdout.write(json.dumps([measure() for _ in range(5)]) + "\n")
