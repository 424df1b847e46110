"""Hosts that are not there, on a clock that jumps: for tests of what dispatch does about faults.

A fake host behaves as ``worker.process.serve`` does: it keeps records until they are acknowledged,
answers signs of life, ends its job when the coordinator is gone, and measures under its machine's
lock.
"""

from __future__ import annotations

import asyncio
import json
import selectors
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from farm.errors import HostError
from worker.job import Job, Order
from worker.process.serve import LEASE
from worker.record import Failure, Record, Sample

OWNER_LOOKS = 1.0  # seconds until a job notices that its owner is gone


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop whose time goes on to the next event instead of waiting for it."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(_Jumping(self))

    def time(self) -> float:
        return self.now


class _Jumping(selectors.SelectSelector):
    def __init__(self, loop: SimulatedLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            raise RuntimeError("nothing is left to happen: something waits for ever")
        self._loop.now += max(timeout, 0.0)
        return super().select(0)


@dataclass
class Execution:
    """One job under way on one host, from ``start`` to ``end`` in seconds of the loop's time."""

    job: str
    attempt: int
    start: float
    end: float | None = None
    completed: bool = False
    kept: bool = False


@dataclass
class FakeHost:
    """A machine; faults are set from outside.

    ``up``: it runs. ``linked``: messages come and go; while not, they wait. ``frozen``: the session
    does nothing, though its job goes on. ``full``: nothing can be kept. ``deaf``: it does not
    notice that its coordinator is gone. ``doubling``: it says each record twice. ``shift`` is how
    wrong its clock is, ``stalled`` how long its job stands still, both in seconds.
    """

    name: str
    seconds: Callable[[Job], float]
    up: bool = True
    linked: bool = True
    frozen: bool = False
    full: bool = False
    deaf: bool = False
    doubling: bool = False
    shift: float = 0.0
    kept: dict[str, Record] = field(default_factory=dict)
    executions: list[Execution] = field(default_factory=list)
    sessions: set[_Serving] = field(default_factory=set)
    device: asyncio.Lock = field(default_factory=asyncio.Lock)
    running: asyncio.Task[Record] | None = None
    stalled: float = 0.0

    def crash(self) -> None:
        """End everything on the machine at once; what was kept stays."""
        self.up = False
        self.kill_sessions()

    def kill_sessions(self) -> None:
        """End the sessions, not the machine; their jobs end with them."""
        for session in list(self.sessions):
            session.end()

    def kill_job(self) -> None:
        """End the process that measures: a crash, which is a result."""
        if self.running:
            self.running.cancel("killed")


class FakeHosts:
    """The engine: sessions with fake hosts."""

    def __init__(self, hosts: dict[str, FakeHost]) -> None:
        self.hosts = hosts

    @asynccontextmanager
    async def session(self, name: str) -> AsyncIterator[_Serving]:
        host = self.hosts[name]
        if not (host.up and host.linked):
            await asyncio.sleep(10.0)
        if not (host.up and host.linked):
            raise HostError(f"host {name!r}: no answer in 10 s; see that it is on and in reach")
        serving = _Serving(host)
        try:
            yield serving
        finally:
            serving.hang_up()

    async def close(self) -> None:
        """Nothing runs between sessions."""


class _Serving:
    """Both ends of one session."""

    def __init__(self, host: FakeHost) -> None:
        self._host = host
        self._orders: asyncio.Queue[Order] = asyncio.Queue()
        self._to_host: asyncio.Queue[str | None] = asyncio.Queue()
        self._to_farm: asyncio.Queue[str | None] = asyncio.Queue()
        self._over = False
        host.sessions.add(self)
        for record in list(host.kept.values()):
            self._say_record(record)
        self._to_farm.put_nowait('{"ready": true}')
        self._tasks = [asyncio.ensure_future(work) for work in (self._listen(), self._measure())]

    # The coordinator's end.

    async def place(self, build: str) -> None:
        await self._link()

    async def say(self, line: str) -> None:
        if self._over and self._host.linked:
            raise HostError(f"host {self._host.name!r}: the session ended")
        self._to_host.put_nowait(line)

    async def hear(self) -> str:
        await self._link()
        line = await self._to_farm.get()
        await self._link()
        if line is None:
            raise HostError(f"host {self._host.name!r}: the session ended")
        return line

    def hang_up(self) -> None:
        self._to_host.put_nowait(None)

    # The host's end.

    def end(self) -> None:
        """End the session process and, a moment later, its job."""
        if not self._over:
            self._over = True
            self._host.sessions.discard(self)
            self._to_farm.put_nowait(None)
            for task in self._tasks:
                task.cancel()

    async def _listen(self) -> None:
        while True:
            try:
                async with asyncio.timeout(LEASE):
                    line = await self._to_host.get()
                    await self._link()
            except TimeoutError:
                line = None
            while self._host.frozen or (line is None and self._host.deaf):  # noqa: ASYNC110
                await asyncio.sleep(1.0)
            if line is None:
                self.end()
                return
            message = json.loads(line)
            if not message:
                self._to_farm.put_nowait("{}")
            elif "acknowledge" in message:
                self._host.kept.pop(message["acknowledge"], None)
            else:
                self._orders.put_nowait(Order.model_validate(message))

    async def _measure(self) -> None:
        while True:
            order = await self._orders.get()
            async with self._host.device:
                record, execution = await self._run(order)
            while self._host.frozen:  # noqa: ASYNC110
                await asyncio.sleep(1.0)
            if not self._host.full:
                self._host.kept[record.name] = record
                execution.kept = True
            for _ in range(1 + self._host.doubling):
                self._say_record(record)

    async def _run(self, order: Order) -> tuple[Record, Execution]:
        host, loop = self._host, asyncio.get_running_loop()
        execution = Execution(order.job.id, order.attempt, loop.time())
        host.executions.append(execution)
        host.running = asyncio.ensure_future(self._work(order))
        try:
            record = await asyncio.shield(host.running)
        except asyncio.CancelledError:
            if not self._over:  # the process that measures was killed, not the session
                failure = Failure(kind="crash", message="the worker was ended by SIGKILL")
                record = Record(**dict(order), status="failed", started=1.0, failure=failure)
            else:
                host.running.cancel()
                await self._linger(execution)
                raise
        finally:
            host.running = None
            execution.end = loop.time()
        execution.completed = True
        return record, execution

    async def _work(self, order: Order) -> Record:
        await asyncio.sleep(self._host.seconds(order.job))
        while self._host.stalled:
            late, self._host.stalled = self._host.stalled, 0.0
            await asyncio.sleep(late)
        sample = Sample(metric="generation_tps", value=100.0)
        started = asyncio.get_running_loop().time() + self._host.shift
        return Record(**dict(order), status="ok", started=started, samples=(sample,))

    async def _linger(self, execution: Execution) -> None:
        """Hold the machine's lock until the job has noticed, unless the machine is off."""
        if self._host.up:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(OWNER_LOOKS)

    async def _link(self) -> None:
        # Looked at again and again, so that a test can set a fault by plain assignment.
        while not self._host.linked:  # noqa: ASYNC110
            await asyncio.sleep(0.5)

    def _say_record(self, record: Record) -> None:
        self._to_farm.put_nowait(json.dumps({"record": json.loads(record.model_dump_json())}))
