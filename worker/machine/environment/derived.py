"""Facts that follow from other facts, and the facts that decide whether records compare."""

from __future__ import annotations

from collections.abc import Mapping

from worker.machine.environment.chips import nominal
from worker.machine.environment.source import Facts
from worker.record import Fact

COMPARABLE = (
    "device",
    "os",
    "os_version",
    "os_build",
    "power_source",
    "power_mode",
    "governor",
    "memory_limit",
    "cpu_limit",
    "wired_limit",
    "gpu_driver",
    "mlx",
    "mlx_lm",
    "python_minor",
)

# mlx uses neural accelerators from this GPU generation and macOS version on (is_nax_available).
ACCELERATED_GENERATION = 17
ACCELERATED_MACOS = (26, 2)


def derive(facts: Mapping[str, Fact]) -> tuple[Facts, dict[str, str]]:
    """Give the derived facts, and reasons for those that cannot be derived."""
    found: Facts = {"device": device(facts)}
    unknown: dict[str, str] = {}
    cores = facts.get("gpu_cores")
    chip = nominal(
        str(facts.get("gpu", facts.get("chip"))), cores if isinstance(cores, int) else None
    )
    if chip is None:
        unknown["nominal_bandwidth"] = "no such chip and GPU cores in chips.py"
    else:
        found["nominal_bandwidth"] = chip.bandwidth * 1e9
    if facts.get("os") != "macOS":
        return found, unknown
    mode = facts.get(f"power_mode_on_{facts.get('power_source')}")
    if mode is None:
        unknown["power_mode"] = "the power source or the power mode on it is unknown"
    else:
        found["power_mode"] = mode
    accelerated = has_neural_accelerators(facts)
    if accelerated is None:
        unknown["neural_accelerators"] = "the GPU generation or the macOS version is unknown"
    else:
        found["neural_accelerators"] = accelerated
    return found, unknown


def device(facts: Mapping[str, Fact]) -> str:
    """Name the device: chip, GPU cores or GPU or processor cores, memory in GB as it is sold."""
    parts = [str(facts.get("chip", "unknown chip"))]
    if "gpu_cores" in facts:
        parts.append(f"{facts['gpu_cores']} GPU cores")
    elif "gpu" in facts:
        parts.append(str(facts["gpu"]))
    elif "logical_cores" in facts:
        parts.append(f"{facts['logical_cores']} cores")
    memory = facts.get("memory")
    parts.append(f"{round(memory / 2**30)} GB" if isinstance(memory, int) else "unknown memory")
    return ", ".join(parts)


def has_neural_accelerators(facts: Mapping[str, Fact]) -> bool | None:
    generation, version = facts.get("gpu_generation"), str(facts.get("os_version", ""))
    numbers = version.split(".")
    if not isinstance(generation, int) or not all(map(str.isdecimal, numbers)):
        return None
    macos = tuple(map(int, numbers))[:2]
    return generation >= ACCELERATED_GENERATION and macos >= ACCELERATED_MACOS
