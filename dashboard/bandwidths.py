"""What each device reads a second: as measured where it was, else by its specification."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from dashboard.database import ask
from db import queries
from db.queries import Figure
from worker.roofline import nominal


def reads() -> dict[str, Figure]:
    """Return the newest measured read bandwidth of each device."""
    return {row.device: row for row in ask(queries.reads)}


def specified(devices: Iterable[str]) -> dict[str, float]:
    """Return the bandwidth in bytes/s that each device's chip is sold with, where it is known."""
    return {device: found for device in devices if (found := _nominal(device))}


@lru_cache(maxsize=256)
def _nominal(device: str) -> float | None:
    return nominal(device)


def bandwidths(others: Iterable[str] = ()) -> dict[str, float]:
    """Return bytes/s of every device of the farm and of ``others``; unknown ones are left out."""
    devices = dict.fromkeys([*ask(queries.devices), *others])
    published = {row.device for row in ask(queries.published)}
    measured = {device: row.value for device, row in reads().items()}
    return specified([*devices, *published]) | measured
