"""mlx: what the framework says of its device."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from importlib import import_module

from worker.machine.environment.source import Facts, Output, Source, UnreadableError

TEXTS = {"device_name": "mlx_device", "architecture": "mlx_architecture"}
AMOUNTS = {
    "max_recommended_working_set_size": "working_set",
    "max_buffer_length": "max_buffer",
    "memory_size": "memory",
}
GENERATION = re.compile(r"applegpu_g(\d{2})[a-z]")


@dataclass(frozen=True)
class Device:
    """MLX in this process: the worker imports it anyway."""

    def __str__(self) -> str:
        return "mx.device_info()"

    def read(self) -> Output:
        try:
            mx = import_module("mlx.core")
        except ImportError as error:
            return Output(missing=f"cannot import mlx: {error}")
        # Before 0.30 only mx.metal has it.
        ask = getattr(mx, "device_info", None) or getattr(mx.metal, "device_info", None)
        if ask is None:
            return Output(missing="this mlx tells nothing of its device")
        try:
            return Output(repr(ask()))
        except (RuntimeError, ValueError, TypeError) as error:  # no device that it can use
            return Output(missing=f"mlx: {error}")


def parse(output: str) -> Facts:
    """Read the printed dictionary; the CPU build has no memory keys."""
    try:
        info = ast.literal_eval(output.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise UnreadableError("not a printed dictionary") from error
    if not isinstance(info, dict):
        raise UnreadableError("not a printed dictionary")
    facts: Facts = {name: info[key] for key, name in TEXTS.items() if is_text(info.get(key))}
    facts |= {name: info[key] for key, name in AMOUNTS.items() if is_amount(info.get(key))}
    if generation := GENERATION.fullmatch(str(info.get("architecture"))):
        facts["gpu_generation"] = int(generation[1])
    return facts


def is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def is_amount(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


SOURCES = (
    Source(Device(), parse, (*TEXTS.values(), "working_set", "max_buffer", "gpu_generation")),
)
