"""Jobs to hosts, records back as they finish, whatever becomes of hosts and connections.

An engine carries lines to and from ``worker.process.serve`` on a host. All else is here, and the
same for every engine: one lane a device, leases, signs of life both ways, deadlines, attempts.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from farm.dispatch.link import Link, Session
from farm.dispatch.schedule import Expected, Schedule
from farm.errors import FarmError, HostError, HostRefusedError, of_host
from farm.plan.inventory import Host
from worker.job import Job, Order
from worker.record import Failure, Record

ATTEMPTS = 3
#: Seconds before a host that was lost is tried again; one never reached gets the first two.
PAUSES = (0.5, 4.0, 15.0, 60.0)
TURN = 1.0  # seconds between looks while another coordinator has the device
THIS_MACHINE = "this machine"

Deliver = Callable[[Record], Awaitable[None]]


class Engine(Protocol):
    """A way to reach hosts: this machine's processes, SSH, or Ray."""

    def session(self, host: str) -> AbstractAsyncContextManager[Session]:
        """Open a session with ``worker.process.serve`` on a host; raises HostError."""

    async def close(self) -> None:
        """End what was kept running between sessions."""


class Ledger(Protocol):
    """Who has which job and device; ``db.leases`` says what each means."""

    def lease(self, job: str, lane: str, host: str) -> int | None: ...
    def lose(self, job: str, number: int, reason: str) -> None: ...
    def settled(self, job: str) -> bool: ...
    def adopt(self, record: Record) -> bool: ...
    def paused(self, host: str) -> bool: ...


@dataclass
class _Batch:
    """What one call runs; ``changed`` tells lanes without work that some may have come back."""

    schedule: Schedule
    deliver: Deliver
    changed: asyncio.Condition

    async def tell(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def take(self, lane: str) -> Job | None:
        """Wait for a job for this lane; None once nothing is left that it may do.

        What another lane of its class has under way comes back if that lane is lost.
        """
        async with self.changed:
            await self.changed.wait_for(
                lambda: self.schedule.has(lane) or not self.schedule.holds(lane)
            )
            return self.schedule.take(lane)


class Dispatcher:
    """Lanes of jobs, one a device: all hosts that are this machine share one."""

    def __init__(
        self, engine: Engine, ledger: Ledger, hosts: Mapping[str, Host], expected: Expected
    ) -> None:
        self._engine, self._ledger, self._hosts, self._expected = engine, ledger, hosts, expected
        self._links: dict[str, Link] = {}
        self._turns: dict[str, asyncio.Lock] = {}
        self._reached: set[str] = set()

    async def run(self, jobs: list[Job], deliver: Deliver) -> None:
        """Do all jobs; ``deliver`` returns once a record is stored.

        Raises FarmError before anything is measured for a job that is for no host or class.
        """
        lanes = self._lanes(jobs)
        schedule = Schedule(jobs, lanes, self._expected)
        batch = _Batch(schedule, deliver, asyncio.Condition())
        tasks = [asyncio.ensure_future(self._lane(lane, batch)) for lane in lanes]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def close(self) -> None:
        """End every session and the engine."""
        for lane in list(self._links):
            await self._hang_up(lane)
        await self._engine.close()

    def _lanes(self, jobs: Iterable[Job]) -> dict[str, frozenset[str]]:
        """Return the targets that each lane of these jobs serves."""
        targets = {job.host for job in jobs}
        lanes: dict[str, set[str]] = {}
        for name, host in self._hosts.items():
            serves = {name, *([host.device_class] if host.device_class else [])} & targets
            if serves:
                lanes.setdefault(THIS_MACHINE if host.local else name, set()).update(serves)
        if unknown := targets.difference(*lanes.values()) if lanes else targets:
            names = ", ".join(sorted(unknown))
            raise FarmError(f"inventory: no host or class {names}; put it back to go on")
        return {lane: frozenset(serves) for lane, serves in lanes.items()}

    async def _lane(self, lane: str, batch: _Batch) -> None:
        """Serve one device until nothing is left that it may do."""
        failures = 0
        while batch.schedule.holds(lane) and not self._paused(lane):
            try:
                async with self._link(lane, batch) as link:
                    failures = 0
                    await self._work(lane, link, batch)
            except HostError as error:
                failures += 1
                pauses = PAUSES if lane in self._reached else PAUSES[:2]
                if isinstance(error, HostRefusedError) or failures > len(pauses):
                    await self._give_up(lane, error, batch)
                    return
                await asyncio.sleep(pauses[failures - 1])

    @asynccontextmanager
    async def _link(self, lane: str, batch: _Batch) -> AsyncIterator[Link]:
        """Lock the device and give its session, open, with all kept records taken over."""
        async with self._turns.setdefault(lane, asyncio.Lock()):
            if lane not in self._links:
                host = self._host(lane)
                with of_host(host):
                    self._links[lane] = Link(self._engine.session(host), host)
                try:
                    await self._open(self._links[lane], batch)
                except BaseException:
                    await self._hang_up(lane)
                    raise
                self._reached.add(lane)
            try:
                yield self._links[lane]
            except BaseException:
                await self._hang_up(lane)
                raise

    async def _open(self, link: Link, batch: _Batch) -> None:
        await link.open()
        while (record := await link.kept()) is not None:
            await self._file(record, link, batch)

    async def _hang_up(self, lane: str) -> None:
        await self._links.pop(lane).close()

    async def _work(self, lane: str, link: Link, batch: _Batch) -> None:
        while not self._paused(lane) and (job := await batch.take(lane)) is not None:
            number = await self._turn(job, lane)
            if number is None:
                await self._finish(job, batch)
            else:
                await self._attempt(job, number, link, batch)

    async def _turn(self, job: Job, lane: str) -> int | None:
        """Wait for a lease of the job and the device; None if another coordinator did the job."""
        while (number := self._ledger.lease(job.id, lane, self._name(job, lane))) is None:
            if self._ledger.settled(job.id):
                return None
            await asyncio.sleep(TURN)
        return number

    async def _attempt(self, job: Job, number: int, link: Link, batch: _Batch) -> None:
        try:
            name = self._name(job, link.host)
            late = await link.order(Order(job=job, attempt=number, host=name))
            while True:
                record = await link.record(late)
                if (record.job.id, record.attempt) == (job.id, number):
                    break
                await self._file(record, link, batch)
        except HostError as error:
            self._ledger.lose(job.id, number, str(error))
            await self._again(job, number, error, batch)
            raise
        await batch.deliver(record)
        await self._finish(job, batch)
        await link.acknowledge(record)

    async def _again(self, job: Job, number: int, error: HostError, batch: _Batch) -> None:
        """Let a lost job be done again, or end it."""
        if number < ATTEMPTS:
            batch.schedule.give_back(job)
            await batch.tell()
        else:
            await batch.deliver(_lost(job, number, error))
            await self._finish(job, batch)

    async def _finish(self, job: Job, batch: _Batch) -> None:
        batch.schedule.finish(job)
        await batch.tell()

    async def _file(self, record: Record, link: Link, batch: _Batch) -> None:
        """Take a record that a host had kept: of this batch, of another run, or of another farm."""
        if batch.schedule.waits(record.job.id):
            await batch.deliver(record)
            await self._finish(record.job, batch)
        elif not self._ledger.adopt(record):
            return
        await link.acknowledge(record)

    async def _give_up(self, lane: str, error: HostError, batch: _Batch) -> None:
        for job in batch.schedule.surrender(lane):
            await batch.deliver(_lost(job, ATTEMPTS, error))
            batch.schedule.finish(job)
        await batch.tell()

    def _paused(self, lane: str) -> bool:
        return self._ledger.paused(self._host(lane))

    def _host(self, lane: str) -> str:
        """Return the host that a lane's session is opened for."""
        if lane != THIS_MACHINE:
            return lane
        return next(name for name, host in self._hosts.items() if host.local)

    def _name(self, job: Job, lane: str) -> str:
        """Return the host that a job counts for: its own, or the one of its class that did it."""
        return job.host if job.host in self._hosts else self._host(lane)


def _lost(job: Job, attempt: int, error: HostError) -> Record:
    failure = Failure(kind="lost", message=str(error), remedy=f"then: farm run --host {job.host}")
    return Record(job=job, attempt=attempt, status="failed", started=time.time(), failure=failure)
