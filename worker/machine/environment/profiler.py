"""system_profiler: the machine's name and, once more, its GPU cores."""

from __future__ import annotations

import json

from worker.machine.environment.source import (
    RARE_DEADLINE,
    Command,
    Facts,
    Source,
    UnreadableError,
)

HARDWARE = {"chip_type": "chip", "machine_name": "machine_name", "machine_model": "machine_model"}


def parse(output: str) -> Facts:
    """Read ``-json`` of SPHardwareDataType and SPDisplaysDataType, either or both."""
    try:
        document = json.loads(output)
    except (ValueError, RecursionError) as error:
        raise UnreadableError("not JSON") from error
    if not isinstance(document, dict):
        raise UnreadableError("not a JSON object")
    return hardware(document.get("SPHardwareDataType")) | displays(
        document.get("SPDisplaysDataType")
    )


def hardware(items: object) -> Facts:
    match items:
        case [dict(item)]:
            return {
                name: item[key]
                for key, name in HARDWARE.items()
                if isinstance(item.get(key), str) and item[key]
            }
    return {}


def displays(items: object) -> Facts:
    """Read the GPU; ``sppci_cores`` is a string."""
    match items:
        case [{"sppci_model": str(model), "sppci_cores": str(cores)}] if (
            model and cores.isascii() and cores.isdigit() and len(cores) <= 4  # noqa: PLR2004
        ):
            return {"gpu": model, "gpu_cores": int(cores)}
    return {}


SOURCES = (
    Source(
        Command(
            ("system_profiler", "-json", "SPHardwareDataType", "SPDisplaysDataType"),
            deadline=RARE_DEADLINE,
        ),
        parse,
        ("machine_name", "gpu", "gpu_cores"),
    ),
)
