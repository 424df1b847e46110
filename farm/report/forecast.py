"""How long what is planned takes, from the first second on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from statistics import mean
from threading import Lock

from worker.job import Cell
from worker.record import Record

#: Seconds for a (cell, host) measured before.
Expected = Mapping[tuple[str, str], float]

#: Seconds of a job where nothing was ever measured: of the bundled model on two cores.
GUESS = 8.0


class Forecast:
    """The time that is left: hosts work side by side, the slowest decides.

    A cell that was never measured on a host takes the mean of those that were. What a run's first
    jobs take more or less than expected, the rest is taken to do as well.
    """

    def __init__(self, expected: Expected) -> None:
        self._expected = expected
        self._usual = mean(expected.values()) if expected else GUESS
        self._ahead: dict[str, list[float]] = {}
        self._taken, self._foreseen = 0.0, 0.0
        self._lock = Lock()

    def plan(self, host: str, cells: Iterable[Cell]) -> None:
        """Take these cells as all that is ahead on a host, each as often as it comes."""
        with self._lock:
            self._ahead[host] = [self._seconds(cell, host) for cell in cells]

    def done(self, record: Record) -> None:
        """Learn from a job that has ended; it is ahead no longer."""
        host = record.job.host
        foreseen = self._seconds(record.job.cell, host)
        with self._lock:
            self._taken += sum(record.phases.values())
            self._foreseen += foreseen
            ahead = self._ahead.get(host, [])
            if foreseen in ahead:
                ahead.remove(foreseen)

    @property
    def left(self) -> float:
        """The seconds that are left."""
        with self._lock:
            pace = self._taken / self._foreseen if self._foreseen else 1.0
            return pace * max((sum(ahead) for ahead in self._ahead.values()), default=0.0)

    @property
    def text(self) -> str:
        """``about 4:20 left``."""
        return f"about {clock(self.left)} left"

    def _seconds(self, cell: Cell, host: str) -> float:
        return self._expected.get((cell.id, host), self._usual)


def clock(seconds: float) -> str:
    """Write a duration: ``4:20``."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
