"""Measure for a gate: each figure a job of its own, its record stored before it is used."""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from db import queries, store
from db.engine import Engine, open_database
from farm.campaign import described, runs, spool
from farm.campaign.coordinator import open_dispatch
from farm.dispatch.bridge import Dispatch
from farm.dispatch.link import Tell
from farm.errors import FarmError
from farm.judge.cell_gate import Confirming, Undecided
from farm.judge.pairs import Measure, Watch
from farm.plan.inventory import Inventory
from farm.report.commit_line import SHORT
from farm.report.forecast import Forecast
from farm.report.gate import pair_line
from farm.report.live import measuring, say
from farm.report.machine_load import Loads
from farm.report.progress import record_line
from worker.job import Build, Cell, Job
from worker.record import Record


@dataclass(frozen=True)
class Campaign:
    """A run whose jobs are asked for one at a time; ``deadline`` is in seconds for each.

    ``forecast`` knows how long what was planned still takes; ``tell`` shows progress; ``loads``
    hears what else the machines did during each job of a pair.
    """

    engine: Engine
    dispatch: Dispatch
    run: str
    suite: str
    deadline: float
    spool: Path
    forecast: Forecast = field(default_factory=lambda: Forecast({}))
    tell: Tell = say
    loads: Loads = field(default_factory=Loads)

    def expect(self, what: str, jobs: Iterable[tuple[Cell, str]]) -> None:
        """Say before the first of some jobs, each a cell and its host, how long all will take."""
        by_host: dict[str, list[Cell]] = {}
        for cell, host in jobs:
            by_host.setdefault(host, []).append(cell)
        for host, cells in by_host.items():
            self.forecast.plan(host, cells)
        self.tell(f"{what}: {self.forecast.text}")

    def tell_job(self, record: Record) -> None:
        """Say what came of a job of a commit, and how long the rest takes."""
        commit = (record.job.build.commit or record.job.build.hash)[:SHORT]
        self.tell(f"{commit}: {record_line(record)}; {self.forecast.text}")

    def tell_pairs(self) -> Watch:
        """Return what says of each pair of a session what it shows, as it comes."""
        numbers = count(1)

        def watch(baseline: Record, candidate: Record) -> None:
            for record in (baseline, candidate):
                self.loads.add(record)
            self.tell(f"{pair_line(next(numbers), baseline, candidate)}; {self.forecast.text}")

        return watch

    def tell_again(self, host: str, cell: Cell, later: Sequence[Cell]) -> Confirming:
        """Return what says that a cell is measured once more, before what is ``later``."""

        def again(metrics: Sequence[str], pairs: int) -> None:
            told = f"{', '.join(metrics)} of {cell.benchmark} regressed after {pairs} pairs"
            self._tell_more(host, cell, pairs, later, f"{told}; measured once more to confirm")

        return again

    def tell_undecided(self, host: str, cell: Cell, later: Sequence[Cell]) -> Undecided:
        """Return what says that a cell takes more pairs, before what is ``later``."""

        def undecided(metrics: Sequence[str], pairs: int) -> None:
            told = f"{', '.join(metrics)} of {cell.benchmark} not decided yet; {pairs} more pairs"
            self._tell_more(host, cell, pairs, later, told)

        return undecided

    def _tell_more(
        self, host: str, cell: Cell, pairs: int, later: Sequence[Cell], told: str
    ) -> None:
        """Say that a cell takes more pairs than were planned, and how long all now takes."""
        self.forecast.plan(host, [*[cell] * 2 * pairs, *later])
        self.tell(f"{host}: {told}; {self.forecast.text}")

    def measure(self, host: str) -> Measure:
        """Return what measures on one host."""

        def measure(build: Build, cell: Cell, repetition: int) -> Record:
            job = Job(
                run=self.run,
                host=host,
                build=build,
                cell=cell,
                repetition=repetition,
                deadline=self.deadline,
            )
            store.record_run(self.engine, self.run, self.suite, time.time(), [job])
            # A host forgets a record once the next one is asked for, so it is stored before.
            records = self.dispatch([job])
            record = next(records, None)
            if record is None:
                raise FarmError(
                    f"host {host!r}: paused; want it again with: farm hosts resume {host}"
                )
            spool.store(self.engine, record, self.spool)
            self.forecast.done(record)
            next(records, None)
            return record

        return measure

    def seed(self, *what: object) -> int:
        """Return the seed of something that this run draws: its name and what it is tell it."""
        return zlib.crc32(" ".join(map(str, (self.run, *what))).encode())

    def finish(self, seconds: float) -> None:
        """Note how long the run took, and that nothing of it is left to do."""
        store.record_wall(self.engine, self.run, seconds)


@contextmanager
def campaign(
    known: Inventory, database: str | None, purpose: str, suite: str, deadline: float
) -> Iterator[Campaign]:
    """Begin a run on the hosts of an inventory; ``database`` overrides the inventory's."""
    engine = open_database(database or known.database)
    with measuring(), open_dispatch(known, engine, say) as dispatch:
        try:
            yield Campaign(
                engine=engine,
                dispatch=dispatch,
                run=name(purpose),
                suite=suite,
                deadline=deadline,
                spool=known.state / "spool",
                forecast=Forecast(
                    queries.typical_seconds(engine), queries.benchmark_seconds(engine)
                ),
            )
        finally:
            described.complete(engine, known.subject)


def name(purpose: str) -> str:
    """Return a new run's name, with what it is for."""
    return f"{purpose}-{runs.name()}"
