"""powermetrics: GPU clock and power, for a worker that runs as root; never through sudo.

Of macOS 27 beta, build 26A5378n reported a constant 1620 MHz; others reported 0 mW for a busy
processor (exelban/stats issue 3336).
"""

from __future__ import annotations

import re

from worker.machine.environment.facts import possible
from worker.machine.environment.macmon import NO_PROCESSOR
from worker.machine.environment.sensors import written_time
from worker.machine.environment.source import (
    RARE_DEADLINE,
    Command,
    Doubts,
    Facts,
    Source,
    UnreadableError,
)

CLOCK = re.compile(r"^GPU HW active frequency: (\d{1,6}) MHz$", re.MULTILINE)
RESIDENCY = re.compile(r"^GPU HW active residency: +(\d{0,3}(?:\.\d+)?)% \(", re.MULTILINE)
POWERS = {
    "gpu_power": re.compile(r"^GPU Power: (\d{1,9}) mW$", re.MULTILINE),
    "chip_power": re.compile(r"^Combined Power \(CPU \+ GPU \+ ANE\): (\d{1,9}) mW$", re.MULTILINE),
}
NO_POWER = re.compile(r"^CPU Power: 0 mW$", re.MULTILINE)
SAMPLED = re.compile(r"^\*\*\* Sampled system activity \(([^()\n]+)\)", re.MULTILINE)
LEVEL = re.compile(
    r"^Current pressure level: (Nominal|Moderate|Heavy|Trapping|Sleeping)$", re.MULTILINE
)


def parse(output: str) -> Facts:
    """Read one text sample: MHz, watts, a ratio of active time; what cannot be is left out."""
    return _read(output)[0]


def doubts(output: str) -> Doubts:
    """Tell why figures of a sample are left out."""
    return _read(output)[1]


def time(output: str) -> float | None:
    """Return when the sample was taken, in seconds since 1970."""
    taken = SAMPLED.search(output)
    return written_time(taken[1], "%a %b %d %H:%M:%S %Y %z") if taken else None


def _read(output: str) -> tuple[Facts, Doubts]:
    if "*** Sampled system activity" not in output:
        raise UnreadableError("no sample")
    facts: Facts = {}
    if clock := CLOCK.search(output):
        facts["gpu_clock"] = float(clock[1])
    residency = RESIDENCY.search(output)
    if residency and residency[1] not in {"", "."}:
        facts["gpu_active_ratio"] = float(residency[1]) / 100
    for name, pattern in POWERS.items():
        if power := pattern.search(output):
            facts[name] = int(power[1]) / 1000
    if level := LEVEL.search(output):
        facts["thermal_level"] = level[1].lower()
    sound, found = possible(facts)
    if NO_POWER.search(output) and sound.pop("chip_power", None) is not None:
        found["chip_power"] = NO_PROCESSOR
    return sound, found


SOURCES = (
    Source(
        Command(
            ("powermetrics", "--samplers", "gpu_power,cpu_power,thermal", "-n", "1", "-i", "100"),
            deadline=RARE_DEADLINE,
        ),
        parse,
        ("gpu_clock", "gpu_active_ratio", *POWERS, "thermal_level"),
        doubts,
        time,
    ),
)
