"""nvidia-smi: the GPU of a CUDA host."""

from __future__ import annotations

import csv
import re

from worker.machine.environment.facts import possible
from worker.machine.environment.source import Command, Doubts, Facts, Source, UnreadableError

TEXTS = {"name": "gpu", "driver_version": "gpu_driver", "pstate": "gpu_state"}
NUMBERS = {
    "memory.total": ("gpu_memory", 2**20),
    "memory.used": ("gpu_memory_used", 2**20),
    "utilization.gpu": ("gpu_utilization", 0.01),
    "clocks.sm": ("gpu_clock", 1),
    "power.draw": ("gpu_power", 1),
    "temperature.gpu": ("gpu_temperature", 1),
}
FIELDS = (*TEXTS, *NUMBERS)
NAMES = (*TEXTS.values(), *(name for name, _ in NUMBERS.values()))


def parse(output: str) -> Facts:
    """Read the first GPU of ``--format=csv,noheader,nounits``; MLX computes there.

    What cannot be is left out.
    """
    return possible(_read(output))[0]


def doubts(output: str) -> Doubts:
    """Tell why figures are left out."""
    return possible(_read(output))[1]


def _read(output: str) -> Facts:
    try:
        rows = list(csv.reader(output.strip().splitlines(), skipinitialspace=True))
    except csv.Error as error:
        raise UnreadableError("not CSV") from error
    if not rows or any(len(row) != len(FIELDS) for row in rows):
        raise UnreadableError("not one row a GPU")
    values = dict(zip(FIELDS, rows[0], strict=True))
    facts: Facts = {"gpus": len(rows)}
    facts |= {name: values[key] for key, name in TEXTS.items() if is_answer(values[key])}
    for key, (name, unit) in NUMBERS.items():
        if is_number(values[key]):
            facts[name] = float(values[key]) * unit
    return facts


def is_answer(value: str) -> bool:
    return bool(value) and not value.startswith("[")


def is_number(value: str) -> bool:
    return re.fullmatch(r"\d{1,12}(\.\d{1,6})?", value) is not None


COMMAND = ("nvidia-smi", f"--query-gpu={','.join(FIELDS)}", "--format=csv,noheader,nounits")
SOURCES = (Source(Command(COMMAND), parse, ("gpus", *NAMES), doubts),)
