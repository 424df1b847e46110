"""Memory bandwidth by specification, of a chip with a number of GPU cores.

A tier alone does not decide: an M5 Max has 460 or 614 GB/s by its GPU cores. What is not in the
table is unknown. Measured reads reach 75 to 85 % of these figures.
"""

from __future__ import annotations

from dataclasses import dataclass

APPLE = "Apple's specification pages, read in copies"
REPORTS = "Apple's announcement of 2026-08-25, read in midudev/canirun.ai pull request 26"
MEMORY = "from memory, not verified"
NVIDIA = "NVIDIA's data sheet, from memory"


@dataclass(frozen=True)
class Chip:
    """``gpu_cores`` are the sold configurations, ``bandwidth`` is in GB/s, GB = 1e9 bytes."""

    name: str
    gpu_cores: tuple[int, ...]
    bandwidth: float
    source: str


CHIPS = (
    Chip("Apple M1", (7, 8), 68.25, APPLE),
    Chip("Apple M1 Pro", (14, 16), 200, APPLE),
    Chip("Apple M1 Max", (24, 32), 400, APPLE),
    Chip("Apple M1 Ultra", (48, 64), 800, APPLE),
    Chip("Apple M2", (8, 10), 100, APPLE),
    Chip("Apple M2 Pro", (16, 19), 200, APPLE),
    Chip("Apple M2 Max", (30, 38), 400, APPLE),
    Chip("Apple M2 Ultra", (60, 76), 800, APPLE),
    Chip("Apple M3", (8, 10), 100, APPLE),
    Chip("Apple M3 Pro", (14, 18), 150, APPLE),
    Chip("Apple M3 Max", (30,), 300, MEMORY),
    Chip("Apple M3 Max", (40,), 400, MEMORY),
    Chip("Apple M3 Ultra", (60, 80), 819, APPLE),
    Chip("Apple M4", (8, 10), 120, APPLE),
    Chip("Apple M4 Pro", (16, 20), 273, APPLE),
    Chip("Apple M4 Max", (32,), 410, APPLE),
    Chip("Apple M4 Max", (40,), 546, APPLE),
    Chip("Apple M5", (8, 10), 153.6, APPLE),
    Chip("Apple M5 Pro", (16, 20), 307, APPLE),
    Chip("Apple M5 Max", (32,), 460, APPLE),
    Chip("Apple M5 Max", (40,), 614, APPLE),
    Chip("Apple M5 Ultra", (80,), 1228, REPORTS),
    Chip("Apple M6", (12,), 170, REPORTS),
    Chip("Apple A18 Pro", (5,), 60, MEMORY),
    Chip("NVIDIA H100 80GB HBM3", (), 3350, NVIDIA),
    Chip("NVIDIA H200", (), 4800, NVIDIA),
)


def nominal(name: str, gpu_cores: int | None) -> Chip | None:
    """Find the chip; one without GPU cores in the table is known by its name alone."""
    for chip in CHIPS:
        if chip.name == name and (not chip.gpu_cores or gpu_cores in chip.gpu_cores):
            return chip
    return None
