"""A run: the jobs that are written down before the first of them is measured."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from db import queries, store
from db.engine import Engine
from farm.errors import FarmError
from farm.plan import builds, commits
from farm.plan.inventory import Inventory
from farm.plan.rounds import Place, in_rounds
from worker.job import Build, Cell, Job


@dataclass(frozen=True)
class Run:
    id: str
    suite: str


def name() -> str:
    """Name a new run by its time (UTC), and by chance where two begin in one second."""
    return f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{secrets.token_hex(2)}"


def begun(engine: Engine, suite: str, places: Iterable[Place], deadline: float, rounds: int) -> Run:
    """Record a new run of these jobs, each with a deadline in seconds; its name draws their order.

    Speeds that are compared are measured in ``rounds`` rounds.
    """
    run = Run(name(), suite)
    jobs = [
        Job(run=run.id, host=host, build=build, cell=cell, repetition=number, deadline=deadline)
        for build, cell, host, number in in_rounds(places, rounds, run.id)
    ]
    store.record_run(engine, run.id, run.suite, time.time(), jobs)
    return run


def unfinished(engine: Engine) -> Run:
    """Return the newest run with a job that has no record; raises FarmError if there is none."""
    newest = next((run for run in queries.runs(engine) if run.records < run.jobs), None)
    if newest is None:
        raise FarmError("--resume: every run is finished; start one with: farm run")
    return Run(newest.id, newest.suite)


def parent(known: Inventory, build: Build, folder: Path) -> Build:
    """Return the build before: of a dirty tree its commit, otherwise the last other bytes."""
    if build.commit is None:
        raise FarmError(f"--parent: {known.subject.path} is in no git repository; leave it out")
    if build.dirty:
        return builds.at_commit(known.subject, build.commit, folder)
    for name in commits.revisions(known.subject, build.commit)[-2::-1]:
        earlier = builds.at_commit(known.subject, name, folder)
        if earlier.hash != build.hash:
            return earlier
    raise FarmError(f"--parent: {build.commit} is the first commit of the subject; leave it out")


def missing(
    engine: Engine, build: Build, cells: Sequence[Cell], hosts: Sequence[str]
) -> list[Place]:
    """Return where a build has no record that counts; of a class, any host's will do."""
    known = queries.measured(engine, build.hash)
    return [(build, cell, host) for cell in cells for host in hosts if (cell.id, host) not in known]
