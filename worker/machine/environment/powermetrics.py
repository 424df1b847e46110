"""powermetrics: GPU clock and power, for a worker that runs as root; never through sudo.

Of macOS 27 beta, build 26A5378n reported a constant 1620 MHz.
"""

from __future__ import annotations

import re

from worker.machine.environment.source import Command, Facts, Source, UnreadableError

CLOCK = re.compile(r"^GPU HW active frequency: (\d{1,6}) MHz$", re.MULTILINE)
RESIDENCY = re.compile(r"^GPU HW active residency: +(\d{0,3}(?:\.\d+)?)% \(", re.MULTILINE)
POWERS = {
    "gpu_power": re.compile(r"^GPU Power: (\d{1,9}) mW$", re.MULTILINE),
    "chip_power": re.compile(r"^Combined Power \(CPU \+ GPU \+ ANE\): (\d{1,9}) mW$", re.MULTILINE),
}
LEVEL = re.compile(
    r"^Current pressure level: (Nominal|Moderate|Heavy|Trapping|Sleeping)$", re.MULTILINE
)


def parse(output: str) -> Facts:
    """Read one text sample: MHz, watts, a ratio of active time."""
    if "*** Sampled system activity" not in output:
        raise UnreadableError("no sample")
    facts: Facts = {}
    if clock := CLOCK.search(output):
        facts["gpu_clock"] = float(clock[1])
    residency = RESIDENCY.search(output)
    if residency and residency[1] not in {"", "."} and float(residency[1]) <= 100:  # noqa: PLR2004  per cent
        facts["gpu_active_ratio"] = float(residency[1]) / 100
    for name, pattern in POWERS.items():
        if power := pattern.search(output):
            facts[name] = int(power[1]) / 1000
    if level := LEVEL.search(output):
        facts["thermal_level"] = level[1].lower()
    return facts


SOURCES = (
    Source(
        Command(
            ("powermetrics", "--samplers", "gpu_power,cpu_power,thermal", "-n", "1", "-i", "100")
        ),
        parse,
        ("gpu_clock", "gpu_active_ratio", *POWERS, "thermal_level"),
    ),
)
