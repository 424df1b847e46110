"""How busy the machines were with other things while figures were taken."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import Any

from worker.record import Record


@dataclass(frozen=True)
class Loads:
    """The cores that other processes used during each job, by host, and how many a host has."""

    taken: dict[str, list[float]] = field(default_factory=dict)
    cores: dict[str, int] = field(default_factory=dict)

    def add(self, record: Record) -> None:
        """Take note of a job; an old worker's record, or one that failed early, does not tell."""
        used = record.details.get("others_cores")
        if isinstance(used, float):
            self.taken.setdefault(record.place, []).append(used)
        cores = record.environment.facts.get("logical_cores")
        if isinstance(cores, int):
            self.cores[record.place] = cores


def lines(loads: Loads) -> list[str]:
    """Say for each host what else ran there."""
    return [
        f"Load: other processes on {host} used {median(taken):.2f} cores in the median job, "
        f"{max(taken):.2f} at most ({len(taken)} jobs{_of(loads, host)})."
        for host, taken in loads.taken.items()
    ]


def document(loads: Loads) -> dict[str, Any]:
    """Return the same as JSON."""
    return {
        host: {
            "cores": loads.cores.get(host),
            "jobs": len(taken),
            "others_median": round(median(taken), 3),
            "others_most": round(max(taken), 3),
        }
        for host, taken in loads.taken.items()
    }


def _of(loads: Loads, host: str) -> str:
    return f", {loads.cores[host]} cores" if host in loads.cores else ""
