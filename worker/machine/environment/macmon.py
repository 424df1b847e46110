"""macmon: GPU clock, power and temperature through IOReport, without root; not part of macOS.

Before 0.8.0 ``gpu_usage`` held [MHz, scaled ratio]; since then ``gpu_freq_mhz`` and
``gpu_active_ratio`` stand alone. On macOS 27 the processor's energy stands still: its power is 0,
and the sum of all is the GPU's alone (macmon issue 76). On an M5 Max it comes every 2 s, so that a
shorter reading has none of it or too much (all-smi issue 410).
"""

from __future__ import annotations

import json

from worker.machine.environment.facts import possible
from worker.machine.environment.sensors import amounts, iso_time
from worker.machine.environment.source import Command, Doubts, Facts, Source, UnreadableError

POWERS = {"gpu_power": "gpu_power", "all_power": "chip_power", "sys_power": "system_power"}
NO_PROCESSOR = "the processor's power is 0, so its sum lacks it"


def parse(output: str) -> Facts:
    """Read the last line: MHz, watts, Celsius, ratios 0 to 1; what cannot be is left out."""
    return _read(output)[0]


def doubts(output: str) -> Doubts:
    """Tell why figures of the last line are left out."""
    return _read(output)[1]


def time(output: str) -> float | None:
    """Return when the last line was measured, in seconds since 1970."""
    return iso_time(_document(output).get("timestamp"))


def _read(output: str) -> tuple[Facts, Doubts]:
    document = _document(output)
    clock, ratio = gpu(document)
    temperature = document.get("temp")
    values = {name: document.get(key) for key, name in POWERS.items()} | {
        "gpu_clock": clock,
        "gpu_active_ratio": ratio,
        "gpu_temperature": temperature.get("gpu_temp_avg")
        if isinstance(temperature, dict)
        else None,
    }
    facts, found = possible(amounts(values))
    if document.get("cpu_power") == 0 and facts.pop("chip_power", None) is not None:
        found["chip_power"] = NO_PROCESSOR
    return facts, found


def _document(output: str) -> dict[str, object]:
    lines = output.strip().splitlines()
    try:
        document = json.loads(lines[-1]) if lines else None
    except (ValueError, RecursionError) as error:
        raise UnreadableError("not JSON") from error
    if not isinstance(document, dict):
        raise UnreadableError("not a JSON object")
    return document


def gpu(document: dict[str, object]) -> tuple[object, object]:
    """Find clock and active ratio; the old schema's ratio is scaled by the clock."""
    match document:
        case {"gpu_freq_mhz": clock, "gpu_active_ratio": ratio}:
            return clock, ratio
        case {"gpu_usage": [clock, _]}:
            return clock, None
    return None, None


SOURCES = (
    Source(
        Command(("macmon", "pipe", "-s", "1", "-i", "100"), deadline=5.0),
        parse,
        ("gpu_clock", "gpu_active_ratio", *POWERS.values(), "gpu_temperature"),
        doubts,
        time,
    ),
)
