"""One session with a host: signs of life both ways, records out, silence told as a lost host."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from typing import Any, Protocol

from farm.errors import HostError, of_host
from worker.job import Order
from worker.record import Record

LOG = logging.getLogger(__name__)

Tell = Callable[[str], None]
BEAT = 4.0  # seconds between signs of life; the host gives up after LEASE seconds without one
SILENCE = 3 * BEAT  # without a line of the host for so long, it counts as lost
LARGEST = 2**63 - 1  # SQLite's largest whole number
GRACE = 120.0  # seconds beyond a job's deadline: its start, and waiting for the machine's lock


class Session(Protocol):
    """Lines to and from ``worker.process.serve``; all calls raise HostError once it is lost."""

    async def place(self, build: str) -> None:
        """Make sure that a build lies on the host under its hash."""

    async def say(self, line: str) -> None: ...

    async def hear(self) -> str:
        """Return the next line; may be cancelled without losing one."""


class Link:
    """A session that is watched."""

    def __init__(self, session: AbstractAsyncContextManager[Session], host: str) -> None:
        self.host = host
        self._opening = session
        self._opened = AsyncExitStack()

    async def open(self) -> None:
        """Open the session; what ``kept`` returns comes first on it."""
        with of_host(self.host):
            self._session = await self._opened.enter_async_context(self._opening)
        beat = asyncio.ensure_future(self._beat())
        self._opened.push_async_callback(_end, beat)

    async def close(self) -> None:
        """End the session; how a host that is lost takes it is for the log alone."""
        try:
            await self._opened.aclose()
        except Exception:
            LOG.exception("host %s: closing its session", self.host)

    async def kept(self) -> Record | None:
        """Return the next record that the host kept for want of a coordinator, None at the end."""
        message = await self._hear()
        return None if "ready" in message else self._record(message)

    async def order(self, order: Order) -> float:
        """Order a job; return the time of the event loop until which ``record`` may wait for it."""
        with of_host(self.host):
            await self._session.place(order.job.build.hash)
        await self._say(order.model_dump_json())
        return asyncio.get_running_loop().time() + order.job.deadline + GRACE

    async def record(self, late: float) -> Record:
        """Return the next record; raises HostError when the host is lost, or silent on it."""
        try:
            async with asyncio.timeout_at(late):
                return self._record(await self._hear())
        except TimeoutError as error:
            raise HostError(f"host {self.host!r}: no record of a job; see its log") from error

    async def acknowledge(self, record: Record) -> None:
        """Tell the host that a record is stored."""
        await self._say(json.dumps({"acknowledge": record.name}))

    async def _say(self, line: str) -> None:
        with of_host(self.host):
            await self._session.say(line)

    async def _hear(self) -> dict[str, Any]:
        """Return the next line that says more than that the host is alive."""
        while True:
            try:
                async with asyncio.timeout(SILENCE):
                    with of_host(self.host):
                        line = await self._session.hear()
            except TimeoutError as error:
                silent = f"silent for {SILENCE:g} s; see that it is awake and in reach"
                raise HostError(f"host {self.host!r}: {silent}") from error
            try:
                message: dict[str, Any] = dict(json.loads(line))
            except (TypeError, ValueError, RecursionError) as error:
                raise self._nonsense(line) from error
            if message:
                return message

    def _record(self, message: dict[str, Any]) -> Record:
        try:
            record = Record.model_validate(message.get("record"))
            _check_storable(json.loads(record.model_dump_json()))
        except (ValueError, RecursionError) as error:
            raise self._nonsense(str(error)) from error
        return record

    def _nonsense(self, said: str) -> HostError:
        first = said.strip().partition("\n")[0][:80]
        return HostError(f"host {self.host!r}: said what is no record ({first}); see its log")

    async def _beat(self) -> None:
        # That the host is lost is told to whoever listens to it.
        with suppress(HostError):
            while True:
                await self._say("{}")
                await asyncio.sleep(BEAT)


def _check_storable(value: Any) -> None:
    """Raise ValueError for a whole number, however deep, that no database takes."""
    if isinstance(value, int) and abs(value) > LARGEST:
        raise ValueError(f"{value:e} is too large a number")
    parts = value.values() if isinstance(value, dict) else value
    for part in parts if isinstance(value, dict | list) else ():
        _check_storable(part)


async def _end(task: asyncio.Future[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
