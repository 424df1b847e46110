"""macmon: GPU clock, power and temperature through IOReport, without root; not part of macOS.

Before 0.8.0 ``gpu_usage`` held [MHz, scaled ratio]; since then ``gpu_freq_mhz`` and
``gpu_active_ratio`` stand alone.
"""

from __future__ import annotations

import json
import sys
from typing import TypeGuard

from worker.machine.environment.source import Command, Facts, Source, UnreadableError

POWERS = {"gpu_power": "gpu_power", "all_power": "chip_power", "sys_power": "system_power"}


def parse(output: str) -> Facts:
    """Read the last line: MHz, watts, Celsius, ratios 0 to 1."""
    lines = output.strip().splitlines()
    try:
        document = json.loads(lines[-1]) if lines else None
    except (ValueError, RecursionError) as error:
        raise UnreadableError("not JSON") from error
    if not isinstance(document, dict):
        raise UnreadableError("not a JSON object")
    clock, ratio = gpu(document)
    temperature = document.get("temp")
    values = {name: document.get(key) for key, name in POWERS.items()} | {
        "gpu_clock": clock,
        "gpu_active_ratio": ratio if is_amount(ratio, at_most=1) else None,
        "gpu_temperature": temperature.get("gpu_temp_avg")
        if isinstance(temperature, dict)
        else None,
    }
    return {name: float(value) for name, value in values.items() if is_amount(value)}


def gpu(document: dict[str, object]) -> tuple[object, object]:
    """Find clock and active ratio; the old schema's ratio is scaled by the clock."""
    match document:
        case {"gpu_freq_mhz": clock, "gpu_active_ratio": ratio}:
            return clock, ratio
        case {"gpu_usage": [clock, _]}:
            return clock, None
    return None, None


def is_amount(value: object, at_most: float = sys.float_info.max) -> TypeGuard[float]:
    """Tell a finite number of at least nothing; a JSON true is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 <= value <= at_most


SOURCES = (
    Source(
        Command(("macmon", "pipe", "-s", "1", "-i", "100")),
        parse,
        ("gpu_clock", "gpu_active_ratio", *POWERS.values(), "gpu_temperature"),
    ),
)
