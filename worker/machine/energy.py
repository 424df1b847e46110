"""Energy per token and the GPU's clock, from a meter that runs beside a job if there is one.

A meter that gives no power once during a trial is broken, or slower than it is read: that trial
has no energy.
"""

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
from worker.machine.reasons import Reason
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
IN_A_ROW = 2


#: Seconds by which the time in a line and the time of reading it may part.
FRESH = 5.0


@dataclass(frozen=True)
class Meter:
    """A command that prints a line every second or two, its parser, and the fact that is its power.

    ``time`` is when a line says that it was measured, in seconds since 1970.
    """

    command: tuple[str, ...]
    parse: Callable[[str], Facts]
    power: str
    time: Callable[[str], float | None] = lambda _: None


METERS = (
    # The energy of an M5 Max's processor comes every 2 s.
    Meter(("macmon", "pipe", "-i", "2000"), macmon.parse, "chip_power", macmon.time),
    Meter((*nvidia.COMMAND, "--loop-ms=1000"), nvidia.parse, "gpu_power"),
)


@dataclass(frozen=True)
class Reading:
    """What a meter said at a time of ``time.perf_counter``: watts, if it knew, and other facts."""

    time: float
    power: float | None
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
            facts, said = meter.parse(line), meter.time(line)
        except UnreadableError:
            continue
        if said is not None and abs(time.time() - said) > FRESH:
            facts = {}
        power = facts.get(meter.power)
        known = power if isinstance(power, float) else None
        readings.append(Reading(time.perf_counter(), known, facts))


def joules(readings: Sequence[Reading], start: float, end: float) -> float | None:
    """Return the energy between two times.

    None with too few readings between them, or with one that has no power.
    """
    within = [reading.power for reading in readings if start <= reading.time <= end]
    powers = [power for power in within if power is not None]
    if len(powers) < ENOUGH or len(powers) < len(within):
        return None
    return sum(powers) / len(powers) * (end - start)


def gaps(readings: Sequence[Reading]) -> str:
    """Say how often a meter gave no power; empty if it always did."""
    without = sum(reading.power is None for reading in readings)
    told = f"the meter gave no power that can be in {without} of {len(readings)} readings"
    return told if without else ""


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


def of_clocks(readings: Sequence[Reading]) -> Iterator[Reason]:
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
        if low == IN_A_ROW:
            yield Reason.of("GPU clock fell", best=best, clock=clock)
            return
