"""mactop: GPU clock, power and temperature; it takes 3 to 4 s to start, so jobs do not ask it.

``total_power`` was the chip's and ``system_power`` the machine's until 2025-12-08. Since then
``total_power`` is the machine's and ``system_power`` what is left of it without the chip. No output
says its version, but a machine takes more than its chip: the larger one is the machine's.
"""

from __future__ import annotations

import json
from typing import Any

from worker.machine.environment.facts import possible
from worker.machine.environment.macmon import NO_PROCESSOR
from worker.machine.environment.sensors import amounts, is_amount, iso_time
from worker.machine.environment.source import (
    RARE_DEADLINE,
    Command,
    Doubts,
    Facts,
    Source,
    UnreadableError,
)

AMOUNTS = {
    "gpu_freq_mhz": "gpu_clock",
    "gpu_power": "gpu_power",
    "gpu_temp": "gpu_temperature",
}
TOTALS = ("total_power", "system_power")
PARTS = ("cpu_power", "gpu_power", "ane_power")
NO_SENSOR = "total_power or system_power is 0, so the other one may mean anything"


def parse(output: str) -> Facts:
    """Read the last document: an array in version 0.2, one object a line in newer ones."""
    return _read(output)[0]


def doubts(output: str) -> Doubts:
    """Tell why figures of the last document are left out."""
    return _read(output)[1]


def time(output: str) -> float | None:
    """Return when the last document was measured, in seconds since 1970."""
    return iso_time(_last(output).get("timestamp"))


def _read(output: str) -> tuple[Facts, Doubts]:
    last = _last(output)
    metrics = last["soc_metrics"]
    facts = amounts({name: metrics.get(key) for key, name in AMOUNTS.items()})
    percent = last.get("gpu_usage")
    if is_amount(percent):
        facts["gpu_active_ratio"] = percent / 100
    powers, found = _powers(metrics)
    sound, impossible = possible(facts | powers)
    return sound, found | impossible


def _powers(metrics: dict[str, Any]) -> tuple[Facts, Doubts]:
    """Tell the chip's power, by its parts where they are given, and the machine's."""
    facts: Facts = {}
    found: Doubts = {}
    given = amounts({key: metrics.get(key) for key in TOTALS})
    both = [value for value in given.values() if isinstance(value, float)]
    if 0 in both:
        found["system_power"] = NO_SENSOR
    elif len(both) == len(TOTALS):
        facts["system_power"] = max(both)
    parts = [metrics[part] for part in PARTS if is_amount(metrics.get(part))]
    if metrics.get("cpu_power") == 0:
        found["chip_power"] = NO_PROCESSOR
    elif len(parts) == len(PARTS):
        facts["chip_power"] = float(sum(parts))
    elif "system_power" in facts and both[0] < both[1]:
        facts["chip_power"] = both[0]
    return facts, found


def _last(output: str) -> dict[str, Any]:
    try:
        document = json.loads(output)
    except (ValueError, RecursionError) as error:
        raise UnreadableError("not JSON") from error
    match document:
        case [*_, {"soc_metrics": dict()} as last] | ({"soc_metrics": dict()} as last):
            return dict(last)
    raise UnreadableError("no metrics of a chip")


SOURCES = (
    Source(
        Command(("mactop", "--headless", "--count", "1"), deadline=RARE_DEADLINE),
        parse,
        (*AMOUNTS.values(), "chip_power", "system_power", "gpu_active_ratio"),
        doubts,
        time,
    ),
)
