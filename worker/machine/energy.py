"""Energy per token and the GPU's clock, from a meter that runs beside a job if there is one."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from worker.machine.environment import macmon, nvidia
from worker.machine.environment.source import Facts, UnreadableError
from worker.record import Sample

#: Which parameter of a benchmark says how many tokens a trial of this metric took.
TOKENS = {"generation_tps": "tokens", "prompt_tps": "context"}
#: A trial must hold that many readings, or its energy is unknown.
ENOUGH = 3
#: A GPU that is active for this share of a reading has no reason to lower its clock ...
ACTIVE = 0.8
#: ... below this share of its best. Throttled ones were seen at 0.54 to 0.65.
LOWEST = 0.75
#: So many readings in a row are no accident.
LASTING = 2


@dataclass(frozen=True)
class Meter:
    """A command that prints a line each second, its parser, and the fact that is its power."""

    command: tuple[str, ...]
    parse: Callable[[str], Facts]
    power: str


METERS = (
    Meter(("macmon", "pipe", "-i", "1000"), macmon.parse, "chip_power"),
    Meter((*nvidia.COMMAND, "--loop-ms=1000"), nvidia.parse, "gpu_power"),
)


@dataclass(frozen=True)
class Reading:
    """What a meter said at a time of ``time.perf_counter``: watts and the other facts."""

    time: float
    power: float
    facts: Facts


@contextmanager
def metered(meters: Iterable[Meter] = METERS) -> Iterator[list[Reading]]:
    """Run the first meter that this host has; its readings fill the list as they come."""
    readings: list[Reading] = []
    meter = next((meter for meter in meters if shutil.which(meter.command[0])), None)
    if meter is None:
        yield readings
        return
    with subprocess.Popen(
        meter.command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None  # noqa: S101  as asked for
        thread = threading.Thread(target=_read, args=(process.stdout, meter, readings))
        thread.start()
        try:
            yield readings
        finally:
            process.kill()
            thread.join()


def _read(lines: IO[str], meter: Meter, readings: list[Reading]) -> None:
    for line in lines:
        try:
            facts = meter.parse(line)
        except UnreadableError:
            continue
        power = facts.get(meter.power)
        if isinstance(power, float):
            readings.append(Reading(time.perf_counter(), power, facts))


def joules(readings: Sequence[Reading], start: float, end: float) -> float | None:
    """Return the energy between two times; None with too few readings between them."""
    within = [reading for reading in readings if start <= reading.time <= end]
    if len(within) < ENOUGH:
        return None
    return sum(reading.power for reading in within) / len(within) * (end - start)


def charged(
    samples: Iterable[Sample],
    readings: Sequence[Reading],
    params: dict[str, object],
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[Sample]:
    """Pass samples on as they are measured, each speed followed by its energy per token.

    A trial lasts from the sample before to its own, so that rewinding the cache counts too.
    """
    began = clock()
    for sample in samples:
        yield sample
        ended = clock()
        tokens = params.get(TOKENS.get(sample.metric, ""))
        spent = joules(readings, began, ended)
        if isinstance(tokens, int) and spent is not None:
            yield sample.model_copy(update={"metric": "joules_per_token", "value": spent / tokens})
        began = clock() if sample.metric in TOKENS else began


def of_clocks(readings: Sequence[Reading]) -> Iterator[str]:
    """Tell if the clock of the busy GPU fell while a job was timed."""
    clocks = [
        clock
        for reading in readings
        if isinstance(ratio := reading.facts.get("gpu_active_ratio"), float)
        and ratio >= ACTIVE
        and isinstance(clock := reading.facts.get("gpu_clock"), float)
    ]
    best, low = 0.0, 0
    for clock in clocks:
        best = max(best, clock)
        low = low + 1 if clock < LOWEST * best else 0
        if low == LASTING:
            yield f"the GPU clock fell from {best:.0f} to {clock:.0f} MHz"
            return
