"""ioreg: GPU cores, utilization and memory of the accelerator, without root."""

from __future__ import annotations

import re

from worker.machine.environment.source import Command, Facts, Source, UnreadableError

ENTRY = re.compile(r"^\+-o ", re.MULTILINE)
# The closing quote keeps out the sibling key that ends in " (driver)".
USED = re.compile(r'"In use system memory"=(\d{1,18})[,}]')
UTILIZATION = re.compile(r'"Device Utilization %"=(\d{1,3})[,}]')
CORES = re.compile(r'"gpu-core-count" = (\d{1,4})\s*$', re.MULTILINE)
MODEL = re.compile(r'"model" = "([^"]+)"')


def parse(output: str) -> Facts:
    """Read the one accelerator; two of them would be a guess."""
    if len(ENTRY.findall(output)) != 1:
        raise UnreadableError("not one accelerator")
    facts: Facts = {}
    if model := MODEL.search(output):
        facts["gpu"] = model[1]
    if cores := CORES.search(output):
        facts["gpu_cores"] = int(cores[1])
    if used := USED.search(output):
        facts["gpu_memory_used"] = int(used[1])
    utilization = UTILIZATION.search(output)
    if utilization and int(utilization[1]) <= 100:  # noqa: PLR2004  per cent
        facts["gpu_utilization"] = int(utilization[1]) / 100
    return facts


SOURCES = (
    Source(
        Command(("ioreg", "-r", "-d", "1", "-w", "0", "-c", "IOAccelerator")),
        parse,
        ("gpu", "gpu_cores", "gpu_memory_used", "gpu_utilization"),
    ),
)
