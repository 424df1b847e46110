"""Measure for a gate: each figure a job of its own, its record stored before it is used."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from db import store
from db.engine import Engine, open_database
from farm.campaign import described, runs, spool
from farm.campaign.coordinator import open_dispatch
from farm.dispatch.bridge import Dispatch
from farm.errors import FarmError
from farm.judge.pairs import Measure
from farm.plan.inventory import Inventory
from farm.report.live import lines, say, watched
from worker.job import Build, Cell, Job
from worker.record import Record


@dataclass(frozen=True)
class Campaign:
    """A run whose jobs are asked for one at a time; ``deadline`` is in seconds for each."""

    engine: Engine
    dispatch: Dispatch
    run: str
    suite: str
    deadline: float
    spool: Path

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
            next(records, None)
            return record

        return measure

    def finish(self, seconds: float) -> None:
        """Note how long the run took, and that nothing of it is left to do."""
        store.record_wall(self.engine, self.run, seconds)


@contextmanager
def campaign(
    known: Inventory, database: str | None, purpose: str, suite: str, deadline: float
) -> Iterator[Campaign]:
    """Begin a run on the hosts of an inventory; ``database`` overrides the inventory's."""
    engine = open_database(database or known.database)
    with lines(list(known.hosts)) as shown, open_dispatch(known, engine, say) as dispatch:
        try:
            yield Campaign(
                engine=engine,
                dispatch=watched(dispatch, shown),
                run=name(purpose),
                suite=suite,
                deadline=deadline,
                spool=known.state / "spool",
            )
        finally:
            described.complete(engine, known.subject)


def name(purpose: str) -> str:
    """Return a new run's name, with what it is for."""
    return f"{purpose}-{runs.name()}"
