"""How long what is planned takes, from the first second on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from threading import Lock

from worker import registry
from worker.job import Cell
from worker.record import Record

#: Seconds for a (cell, host) measured before.
Expected = Mapping[tuple[str, str], float]
#: Seconds for a (benchmark, host) measured before, whatever the cell.
Usual = Mapping[tuple[str, str], float]

#: Seconds of jobs as foreseen that one's own first jobs are weighed against.
TRUSTED = 30.0


class Forecast:
    """The time that is left: hosts work side by side, the slowest decides.

    A cell takes what it took on its host before, else what its benchmark did there, else what the
    benchmark says of itself. What a run's jobs take more or less than that, the rest is taken to
    do as well, the surer the more there are: the first alone may be an exception.
    """

    def __init__(self, expected: Expected, usual: Usual | None = None) -> None:
        self._expected, self._usual = expected, usual or {}
        self._ahead: dict[str, list[float]] = {}
        self._taken, self._foreseen = TRUSTED, TRUSTED
        self._beyond = False
        self._lock = Lock()

    def plan(self, host: str, cells: Iterable[Cell]) -> None:
        """Take these cells as all that is ahead on a host, each as often as it comes."""
        with self._lock:
            self._ahead[host] = [self._seconds(cell, host) for cell in cells]
            self._beyond = False

    def done(self, record: Record) -> None:
        """Learn from a job that has ended; it is ahead no longer."""
        host = record.job.host
        foreseen = self._seconds(record.job.cell, host)
        with self._lock:
            self._taken += sum(record.phases.values())
            self._foreseen += foreseen
            ahead = self._ahead.get(host, [])
            self._beyond = not ahead
            if foreseen in ahead:
                ahead.remove(foreseen)

    @property
    def left(self) -> float:
        """The seconds that are left."""
        with self._lock:
            pace = self._taken / self._foreseen
            return pace * max((sum(ahead) for ahead in self._ahead.values()), default=0.0)

    @property
    def text(self) -> str:
        """``about 4:20 left``; a plan that did not do is no estimate any more."""
        return "longer than usual" if self._beyond else f"about {clock(self.left)} left"

    def _seconds(self, cell: Cell, host: str) -> float:
        known = self._expected.get((cell.id, host)) or self._usual.get((cell.benchmark, host))
        return known or registry.entries("benchmarks")[cell.benchmark].seconds


def clock(seconds: float) -> str:
    """Write a duration: ``4:20``."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
