"""What a night has of a history: commits by hosts and cells, and what is not yet measured."""

from __future__ import annotations

import random
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

from db import queries
from farm.campaign.campaign import Campaign
from farm.judge.cell_gate import SeriesVerdict
from farm.plan.commits import Commit
from farm.report.table import counted
from worker.job import Cell
from worker.record import Record

ATTEMPTS = 3

#: One job of a night: commit, cell, host and repetition.
Todo = tuple[Commit, Cell, str, int]


@dataclass(frozen=True)
class Night:
    """What all steps of a night share."""

    history: Sequence[Commit]
    cells: Sequence[Cell]
    hosts: Sequence[str]
    branch: str
    campaign: Campaign
    gates: dict[tuple[str, str, int, int], list[SeriesVerdict]] = field(default_factory=dict)


def missing(night: Night, repetitions: int) -> list[Todo]:
    """Return what is not yet measured: commit, cell, host and repetition, in a random order.

    Random, so that a drift of the host over the night does not look like one over the commits.
    A job that failed or was disturbed ``ATTEMPTS`` times is not asked for again.
    """
    known = queries.attempts(night.campaign.engine, [c.build.hash for c in night.history])
    todo = []
    for commit in night.history:
        for cell in night.cells:
            for host in night.hosts:
                key = (commit.build.hash, cell.id, host)
                if known[*key, "failed"] + known[*key, "invalid"] < ATTEMPTS:
                    done = known[*key, "ok"]
                    todo += [(commit, cell, host, n) for n in range(done, repetitions)]
    random.Random(night.campaign.run).shuffle(todo)  # noqa: S311  an order, no secret
    return todo


def measure(night: Night, todo: Iterable[Todo]) -> list[Record]:
    """Measure and store, hosts side by side; return the records."""
    begun = time.perf_counter()
    todo = list(todo)
    if todo:
        commits = counted(len({commit.name for commit, *_ in todo}), "commit")
        what = f"{counted(len(todo), 'job')} of {commits}"
        night.campaign.expect(what, [(cell, host) for _, cell, host, _ in todo])
    hosts: dict[str, list[Todo]] = {}
    for job in todo:
        hosts.setdefault(job[2], []).append(job)
    with ThreadPoolExecutor(max(len(hosts), 1)) as pool:
        records = [
            record
            for some in pool.map(partial(_on_host, night.campaign), hosts.values())
            for record in some
        ]
    night.campaign.finish(time.perf_counter() - begun)
    return records


def _on_host(campaign: Campaign, todo: Iterable[Todo]) -> list[Record]:
    records = []
    for commit, cell, host, repetition in todo:
        records.append(campaign.measure(host)(commit.build, cell, repetition))
        campaign.tell_job(records[-1])
    return records
