"""Faults by the thousand: what dispatch makes of them.

``python tests/support/fault_campaign.py simulated`` injects faults into fake hosts on a simulated
clock, ``scale`` gives one coordinator 200 fake hosts and 10,000 jobs, ``lab`` breaks real
processes and links in network namespaces (needs root). Each prints a table.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import resource
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import quantiles

from sqlalchemy import Engine

import jobs
from db import queries, store
from db.engine import open_database
from db.leases import Leases
from fake_hosts import FakeHost, FakeHosts, SimulatedLoop
from farm.dispatch.bridge import dispatching
from farm.dispatch.dispatcher import Dispatcher
from farm.plan.inventory import Host
from worker.record import Record

CLASS = "m2-pro"


@dataclass
class Tally:
    """What a campaign did and found; all but ``faults`` and the last three must stay 0."""

    faults: Counter[str] = field(default_factory=Counter)
    jobs: int = 0
    missing: int = 0
    twice: int = 0
    vanished: int = 0
    overlaps: int = 0
    left: int = 0
    late: int = 0
    lost: int = 0
    executions: int = 0


class Scenario:
    """Some hosts, some jobs, one coordinator after the other, and faults drawn from a seed."""

    def __init__(self, folder: Path, seed: int, tally: Tally, faults: int) -> None:
        self._rng, self._tally, self._faults = random.Random(seed), tally, faults  # noqa: S311
        seconds = partial(lambda rng, _: rng.uniform(1.0, 40.0), self._rng)
        self.hosts = {f"h{i}": FakeHost(f"h{i}", seconds) for i in range(4)}
        self._known = {
            name: Host.model_validate(
                {"address": name} | ({"class": CLASS} if name in {"h0", "h1", "h2"} else {})
            )
            for name in self.hosts
        }
        self.engine = open_database(str(folder / f"{seed}.db"))
        self._run = f"run-{seed}"
        targets = [CLASS, *self.hosts]
        wanted = [
            jobs.job(run=self._run, host=targets[i % len(targets)], repetition=i, deadline=60.0)
            for i in range(40)
        ]
        store.record_run(self.engine, self._run, "campaign", 1.0, wanted)
        self._tally.jobs += len(wanted)
        self._coordinator: asyncio.Task[None] | None = None

    async def whole(self) -> None:
        """Start coordinators until nothing is pending, break things meanwhile, then count."""
        breaking = asyncio.ensure_future(self._break())
        while queries.pending_jobs(self.engine, self._run):
            self._coordinator = asyncio.ensure_future(self._coordinate())
            await asyncio.gather(self._coordinator, return_exceptions=True)
        breaking.cancel()
        await asyncio.gather(breaking, return_exceptions=True)
        for host in self.hosts.values():
            host.up = host.linked = True
            host.frozen = host.deaf = False
        await asyncio.sleep(120.0)
        self._count()
        self.engine.dispose()

    async def _coordinate(self) -> None:
        ledger = Leases(self.engine)
        dispatcher = Dispatcher(FakeHosts(self.hosts), ledger, self._known, {})
        try:
            await dispatcher.run(queries.pending_jobs(self.engine, self._run), self._deliver)
        except asyncio.CancelledError:
            # Killed: the kernel closes its connections and its lock, nobody ends its leases.
            ledger.abandon()
        else:
            await dispatcher.close()
            ledger.__exit__(None, None, None)

    async def _deliver(self, record: Record) -> None:
        store.record_result(self.engine, record)

    async def _break(self) -> None:
        kinds: list[Callable[[FakeHost], Awaitable[None]]] = [
            self._kill_job, self._kill_session, self._kill_head, self._kill_coordinator,
            self._crash, self._partition, self._fill, self._jump, self._zombie, self._double,
            self._freeze, self._stall,
        ]  # fmt: skip
        for _ in range(self._faults):
            await asyncio.sleep(self._rng.expovariate(1 / 8.0))
            kind = self._rng.choice(kinds)
            host = self._rng.choice(list(self.hosts.values()))
            self._tally.faults[kind.__name__.strip("_").replace("_", " ")] += 1
            asyncio.ensure_future(kind(host))  # noqa: RUF006  it ends by itself

    async def _kill_job(self, host: FakeHost) -> None:
        host.kill_job()

    async def _kill_session(self, host: FakeHost) -> None:
        host.kill_sessions()

    async def _kill_head(self, _: FakeHost) -> None:
        for host in self.hosts.values():
            host.kill_sessions()

    async def _kill_coordinator(self, _: FakeHost) -> None:
        if self._coordinator:
            self._coordinator.cancel()

    async def _crash(self, host: FakeHost) -> None:
        host.crash()
        await asyncio.sleep(self._rng.uniform(2.0, 60.0))
        host.up = True

    async def _partition(self, host: FakeHost) -> None:
        host.linked = False
        await asyncio.sleep(self._rng.choice([3.0, 10.0, 60.0]))
        host.linked = True

    async def _fill(self, host: FakeHost) -> None:
        host.full = True
        await asyncio.sleep(30.0)
        host.full = False

    async def _jump(self, host: FakeHost) -> None:
        host.shift = self._rng.choice([-3600.0, 3600.0])

    async def _zombie(self, host: FakeHost) -> None:
        """Go on measuring for a coordinator that is gone: its result comes late."""
        host.deaf = True
        host.linked = False
        await asyncio.sleep(45.0)
        host.linked = True
        host.deaf = False

    async def _double(self, host: FakeHost) -> None:
        host.doubling = True
        await asyncio.sleep(60.0)
        host.doubling = False

    async def _freeze(self, host: FakeHost) -> None:
        host.frozen = True
        await asyncio.sleep(self._rng.choice([5.0, 30.0]))
        host.frozen = False

    async def _stall(self, host: FakeHost) -> None:
        host.stalled = 5.0

    def _count(self) -> None:
        tally, database = self._tally, _Stored(self.engine)
        tally.missing += len(queries.pending_jobs(self.engine, self._run))
        tally.twice += database.twice
        tally.late += database.late
        tally.lost += database.lost
        for host in self.hosts.values():
            runs = sorted(host.executions, key=lambda one: one.start)
            tally.executions += len(runs)
            tally.left += sum(one.end is None for one in runs)
            tally.overlaps += sum(
                one.end is None or one.end > two.start for one, two in pairwise(runs)
            )
            known = database.attempts | set(host.kept)
            tally.vanished += sum(
                one.kept and f"{one.job}-{one.attempt}" not in known for one in runs
            )


class _Stored:
    """What the database says in the end."""

    def __init__(self, engine: Engine) -> None:
        with sqlite3.connect(str(engine.url.database)) as connection:
            counted = [Record.model_validate_json(text) for (text,) in
                       connection.execute("SELECT document FROM record")]  # fmt: skip
            late = [Record.model_validate_json(text) for (text,) in
                    connection.execute("SELECT document FROM late_record")]  # fmt: skip
        connection.close()
        self.lost = sum(bool(one.failure and one.failure.kind == "lost") for one in counted)
        self.late = len(late)
        self.twice = len(counted) - len({one.job.id for one in counted})
        real = [one for one in counted if not (one.failure and one.failure.kind == "lost")]
        self.attempts = {one.name for one in [*real, *late]}


def simulated(faults: int, seed: int = 1) -> Tally:
    """Inject at least so many faults, 25 a scenario; raises if a scenario waits for ever."""
    tally = Tally()
    with tempfile.TemporaryDirectory() as name:
        while tally.faults.total() < faults:
            loop = SimulatedLoop()
            scenario = Scenario(Path(name), seed, tally, 25)
            loop.run_until_complete(scenario.whole())
            loop.run_until_complete(_end_all())
            loop.close()
            seed += 1
    return tally


async def _end_all() -> None:
    rest = asyncio.all_tasks() - {asyncio.current_task()}
    for task in rest:
        task.cancel()
    await asyncio.gather(*rest, return_exceptions=True)


def scale(hosts: int, wanted: int) -> list[tuple[str, str]]:
    """Give one coordinator so many hosts and jobs that take no time; return what it took."""
    with tempfile.TemporaryDirectory() as name:
        engine = open_database(str(Path(name) / "farm.db"))
        fakes = {f"h{i}": FakeHost(f"h{i}", lambda _: 0.0) for i in range(hosts)}
        known = {name: Host(address=name) for name in fakes}
        queued = [jobs.job(host=f"h{i % hosts}", repetition=i) for i in range(wanted)]
        begun = time.perf_counter()
        store.record_run(engine, "run-1", "scale", 1.0, queued)
        recorded = time.perf_counter() - begun
        begun, used = time.perf_counter(), time.process_time()
        with (
            Leases(engine) as ledger,
            dispatching(FakeHosts(fakes), ledger, known, {}) as dispatch,
        ):
            for record in dispatch(queued):
                store.record_result(engine, record)
        seconds, processor = time.perf_counter() - begun, time.process_time() - used
        waits = _waits(engine)
        engine.dispose()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return [
        ("hosts, jobs", f"{hosts}, {wanted}"),
        ("queueing all jobs", f"{recorded:.1f} s"),
        ("dispatching and storing", f"{seconds:.1f} s, {wanted / seconds:.0f} jobs/s"),
        ("processor time, with the fake hosts", f"{1000 * processor / wanted:.2f} ms a job"),
        ("a host's wait between two jobs, p50, p95", f"{waits[0]:.2f} s, {waits[1]:.2f} s"),
        ("most memory", f"{memory:.0f} MB"),
    ]


def _waits(engine: Engine) -> tuple[float, float]:
    """Return the median and 95th percentile of the time from a host's record to its next lease."""
    ended: dict[str, float] = {}
    waits = []
    with sqlite3.connect(str(engine.url.database)) as connection:
        rows = connection.execute("SELECT lane, leased, ended FROM attempt ORDER BY id")
        for lane, leased, end in rows:
            if lane in ended:
                waits.append(leased - ended[lane])
            ended[lane] = end
    connection.close()
    cuts = quantiles(waits, n=20)
    return cuts[9], cuts[18]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("part", choices=("simulated", "scale"))
    parser.add_argument("--faults", type=int, default=1000)
    args = parser.parse_args()
    if args.part == "simulated":
        tally = simulated(args.faults)
        rows = [*sorted(tally.faults.items()), *list(vars(tally).items())[1:]]
    else:
        rows = scale(200, 10_000)
    for name, figure in rows:
        print(f"{name:42} {figure}")  # noqa: T201  a script's table


if __name__ == "__main__":
    main()
