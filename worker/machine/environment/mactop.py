"""mactop: GPU clock, power and temperature; it takes 3 to 4 s to start, so jobs do not ask it.

``total_power`` was the chip's and ``system_power`` the machine's until 2025-12-08. Since then
``total_power`` is the machine's and ``system_power`` what is left of it without the chip. No output
says its version, but what the parts sum up to is the chip's.
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
PARTS = ("cpu_power", "gpu_power", "ane_power", "dram_power", "gpu_sram_power")
CHIP = {"cpu_power", "gpu_power", "ane_power"}
NEAR = 0.02
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
    parts = {part: metrics[part] for part in PARTS if is_amount(metrics.get(part))}
    total, system = metrics.get("total_power"), metrics.get("system_power")
    if not (is_amount(total) and is_amount(system)):
        total = system = None
    elif 0 in {total, system}:
        found["system_power"] = NO_SENSOR
    else:
        old = _is_old(total, system, sum(parts.values()) if parts.keys() >= CHIP else None)
        facts["system_power"] = float(system if old else total)
        if old:
            facts["chip_power"] = float(total)
    if parts.get("cpu_power") == 0:
        facts.pop("chip_power", None)
        found["chip_power"] = NO_PROCESSOR
    elif parts.keys() >= CHIP:
        facts["chip_power"] = float(sum(parts[part] for part in CHIP))
    return facts, found


def _is_old(total: float, system: float, parts: float | None) -> bool:
    """Tell an output from before the change: its total is that of the parts, where it has them."""
    return total < system if parts is None else abs(total - parts) <= NEAR * total


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
