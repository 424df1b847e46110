"""Machines at rest: their facts, and readings that go on from each other."""

from __future__ import annotations

from dataclasses import replace

from worker.machine.readings import Moment
from worker.record import Environment

GIB = 2**30
MEMORY = 16 * GIB
QUIET = Moment(
    monotonic=100.0,
    wall=1000.0,
    own=0.0,
    busy=50.0,
    stolen=0.0,
    swap_used=0,
    available=8 * GIB,
    stalled=0.0,
    refused=0,
)
FIT = {
    "os": "macOS",
    "power_source": "ac",
    "power_mode": "high",
    "thermal_level": "nominal",
    "memory_pressure": "normal",
    "priority": 31,
    "gpu_utilization": 0.02,
    "spotlight_cpu": 0.0,
}


def later(moment: Moment, seconds: float, **changes: float) -> Moment:
    """Go on: this process uses all of one core, and nobody else any."""
    steady = replace(
        moment,
        monotonic=moment.monotonic + seconds,
        wall=moment.wall + seconds,
        own=moment.own + seconds,
        busy=moment.busy + seconds,
    )
    return replace(steady, **{name: getattr(steady, name) + by for name, by in changes.items()})


def state(**changes) -> Environment:
    return Environment(facts=FIT | changes, comparable=("power_mode", "power_source"))
