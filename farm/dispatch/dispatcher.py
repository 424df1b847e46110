"""Jobs to hosts, records back as they finish, whatever becomes of hosts and connections.

An engine carries lines to and from ``worker.process.serve`` on a host. All else is here, and the
same for every engine: one lane a device, leases, signs of life both ways, deadlines, attempts.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import Protocol

from farm.dispatch.link import Line, Session
from farm.dispatch.schedule import Expected, Schedule
from farm.errors import FarmError, HostError, HostRefusedError
from farm.plan.inventory import Host
from worker.job import Job, Order
from worker.record import Failure, Record

ATTEMPTS = 3
#: Seconds before a host that was lost is tried again; one never reached gets the first two.
PAUSES = (0.5, 4.0, 15.0, 60.0)
TURN = 1.0  # seconds between looks while another coordinator has the device
THREADS = 64  # most hosts that may hold up a blocking call at once
THIS_MACHINE = "this machine"

Deliver = Callable[[Record], Awaitable[None]]
Dispatch = Callable[[Iterable[Job]], Iterator[Record]]


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


@contextmanager
def dispatching(
    engine: Engine, ledger: Ledger, hosts: Mapping[str, Host], expected: Expected
) -> Iterator[Dispatch]:
    """Give a function that runs jobs and yields their records; sessions stay open between calls.

    A record counts as stored, and is deleted from its host, once the next one is asked for. A host
    that stays out of reach ends its jobs as lost; the jobs of a paused one stay as they are.
    """
    loop = asyncio.new_event_loop()
    loop.set_default_executor(ThreadPoolExecutor(THREADS))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    dispatcher = Dispatcher(engine, ledger, hosts, expected)
    try:
        yield partial(_records, loop, dispatcher)
    finally:
        asyncio.run_coroutine_threadsafe(dispatcher.close(), loop).result()
        asyncio.run_coroutine_threadsafe(loop.shutdown_default_executor(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _records(
    loop: asyncio.AbstractEventLoop, dispatcher: Dispatcher, jobs: Iterable[Job]
) -> Iterator[Record]:
    said: SimpleQueue[tuple[Record, asyncio.Event] | BaseException | None] = SimpleQueue()

    async def deliver(record: Record) -> None:
        stored = asyncio.Event()
        said.put((record, stored))
        await stored.wait()

    async def whole() -> None:
        try:
            await dispatcher.run(list(jobs), deliver)
        except BaseException as error:  # noqa: BLE001  raised again by whoever waits for records
            said.put(error)
        else:
            said.put(None)

    future = asyncio.run_coroutine_threadsafe(whole(), loop)
    try:
        while (one := said.get()) is not None:
            if isinstance(one, BaseException):
                raise one
            yield one[0]
            loop.call_soon_threadsafe(one[1].set)
    finally:
        future.cancel()


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
        self._lines: dict[str, Line] = {}
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
        for lane in list(self._lines):
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
                async with self._line(lane, batch) as line:
                    failures = 0
                    await self._work(lane, line, batch)
            except HostError as error:
                failures += 1
                pauses = PAUSES if lane in self._reached else PAUSES[:2]
                if isinstance(error, HostRefusedError) or failures > len(pauses):
                    await self._give_up(lane, error, batch)
                    return
                await asyncio.sleep(pauses[failures - 1])

    @asynccontextmanager
    async def _line(self, lane: str, batch: _Batch) -> AsyncIterator[Line]:
        """Have the device for oneself, with a session that is open and told all that was kept."""
        async with self._turns.setdefault(lane, asyncio.Lock()):
            if lane not in self._lines:
                self._lines[lane] = Line(self._engine.session(self._host(lane)), self._host(lane))
                try:
                    await self._open(self._lines[lane], batch)
                except BaseException:
                    await self._hang_up(lane)
                    raise
                self._reached.add(lane)
            try:
                yield self._lines[lane]
            except BaseException:
                await self._hang_up(lane)
                raise

    async def _open(self, line: Line, batch: _Batch) -> None:
        await line.open()
        while (record := await line.kept()) is not None:
            await self._file(record, line, batch)

    async def _hang_up(self, lane: str) -> None:
        await self._lines.pop(lane).close()

    async def _work(self, lane: str, line: Line, batch: _Batch) -> None:
        while not self._paused(lane) and (job := await batch.take(lane)) is not None:
            number = await self._turn(job, lane)
            if number is None:
                await self._finish(job, batch)
            else:
                await self._attempt(job, number, line, batch)

    async def _turn(self, job: Job, lane: str) -> int | None:
        """Wait for a lease of the job and the device; None if another coordinator did the job."""
        while (number := self._ledger.lease(job.id, lane, self._name(job, lane))) is None:
            if self._ledger.settled(job.id):
                return None
            await asyncio.sleep(TURN)
        return number

    async def _attempt(self, job: Job, number: int, line: Line, batch: _Batch) -> None:
        try:
            name = self._name(job, line.host)
            late = await line.order(Order(job=job, attempt=number, host=name))
            while True:
                record = await line.record(late)
                if (record.job.id, record.attempt) == (job.id, number):
                    break
                await self._file(record, line, batch)
        except HostError as error:
            self._ledger.lose(job.id, number, str(error))
            await self._again(job, number, error, batch)
            raise
        await batch.deliver(record)
        await self._finish(job, batch)
        await line.acknowledge(record)

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

    async def _file(self, record: Record, line: Line, batch: _Batch) -> None:
        """Take a record that a host had kept: of this batch, of another run, or of another farm."""
        if batch.schedule.waits(record.job.id):
            await batch.deliver(record)
            await self._finish(record.job, batch)
        elif not self._ledger.adopt(record):
            return
        await line.acknowledge(record)

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
