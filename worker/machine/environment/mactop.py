"""mactop: GPU clock, power and temperature; it takes a second, so jobs do not ask it."""

from __future__ import annotations

import json

from worker.machine.environment.macmon import is_amount
from worker.machine.environment.source import Command, Facts, Source, UnreadableError

AMOUNTS = {
    "gpu_freq_mhz": "gpu_clock",
    "gpu_power": "gpu_power",
    "total_power": "chip_power",
    "system_power": "system_power",
    "gpu_temp": "gpu_temperature",
}


def parse(output: str) -> Facts:
    """Read the last document: an array in version 0.2, one object a line in newer ones."""
    try:
        document = json.loads(output)
    except (ValueError, RecursionError) as error:
        raise UnreadableError("not JSON") from error
    match document:
        case [*_, {"soc_metrics": dict(metrics)} as last] | (
            {"soc_metrics": dict(metrics)} as last
        ):
            facts: Facts = {
                name: float(metrics[key])
                for key, name in AMOUNTS.items()
                if is_amount(metrics.get(key))
            }
        case _:
            raise UnreadableError("no metrics of a chip")
    percent = last.get("gpu_usage")
    return facts | ({"gpu_active_ratio": percent / 100} if is_amount(percent, at_most=100) else {})


SOURCES = (
    Source(
        Command(("mactop", "--headless", "--count", "1")),
        parse,
        (*AMOUNTS.values(), "gpu_active_ratio"),
    ),
)
