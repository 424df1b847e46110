"""sysctl: chip, model, memory, core clusters by name, swap, wired limit, memory pressure."""

from __future__ import annotations

import re

from worker.machine.environment.source import Command, Facts, Source, UnreadableError

LINE = re.compile(r"^([a-z][\w.]*): (.*?)\s*$", re.MULTILINE)
SWAP = re.compile(r"total = ([\d.]+)M  used = ([\d.]+)M  free = ([\d.]+)M")
PRESSURE = {"1": "normal", "2": "warning", "4": "critical"}
TEXTS = {"machdep.cpu.brand_string": "chip", "hw.model": "machine_model"}
COUNTS = {
    "hw.memsize": "memory",
    "hw.physicalcpu": "cores",
    "iogpu.wired_limit_mb": "wired_limit",
}
UNITS = {"wired_limit": 2**20}
CLUSTERS = tuple(
    f"hw.perflevel{level}.{key}" for level in range(3) for key in ("name", "physicalcpu")
)
KEYS = (*TEXTS, *COUNTS, *CLUSTERS, "vm.swapusage", "kern.memorystatus_vm_pressure_level")


def parse(output: str) -> Facts:
    """Read ``key: value`` lines; a repeated key is unreadable, an unknown key is not there."""
    lines = LINE.findall(output)
    values = dict(lines)
    if not lines or len(values) != len(lines):
        raise UnreadableError("not one value a key")
    facts: Facts = {name: values[key] for key, name in TEXTS.items() if values.get(key)}
    counts = {name: values[key] for key, name in COUNTS.items() if is_count(values.get(key, ""))}
    facts |= {name: int(count) * UNITS.get(name, 1) for name, count in counts.items()}
    facts |= clusters(values) | swap(values.get("vm.swapusage", ""))
    level = PRESSURE.get(values.get("kern.memorystatus_vm_pressure_level", ""))
    return facts | ({} if level is None else {"memory_pressure": level})


def is_count(value: str) -> bool:
    return re.fullmatch(r"[0-9]{1,18}", value) is not None


def clusters(values: dict[str, str]) -> Facts:
    """Name the clusters as the chip does: perflevel0 is Performance on M4 and Super on M5."""
    found = []
    for level in range(3):
        name = values.get(f"hw.perflevel{level}.name", "")
        count = values.get(f"hw.perflevel{level}.physicalcpu", "")
        if name and is_count(count):
            found.append(f"{count} {name}")
    return {"clusters": " + ".join(found)} if found else {}


def swap(usage: str) -> Facts:
    """Read vm.swapusage, MiB to bytes."""
    amounts = SWAP.match(usage)
    if amounts is None:
        return {}
    try:
        total, used = float(amounts[1]), float(amounts[2])
    except ValueError:
        return {}
    return {"swap_total": int(total * 2**20), "swap_used": int(used * 2**20)}


SOURCES = (
    Source(
        Command(("sysctl", *KEYS)),
        parse,
        (
            *TEXTS.values(),
            *COUNTS.values(),
            "clusters",
            "swap_total",
            "swap_used",
            "memory_pressure",
        ),
    ),
)
