"""The SSH engine: a session with ``worker.process.serve`` held open, nothing else on the host."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from farm.dispatch.link import Session, Tell
from farm.errors import HostError, of_host
from farm.hosts import bootstrap
from farm.hosts.reach import Reach, place_build
from farm.hosts.said import telling
from farm.hosts.ssh.channel import Channel
from farm.plan.inventory import Host


class Remote:
    """Sessions over SSH; ``state`` holds known_hosts and builds, ``tell`` shows the steps done."""

    def __init__(self, hosts: Mapping[str, Host], state: Path, tell: Tell) -> None:
        self._reach = Reach(hosts, state, lambda host, words: tell(f"{host}: {words}"))
        self._builds = state / "builds"

    @asynccontextmanager
    async def session(self, host: str) -> AsyncIterator[Session]:
        place = await asyncio.to_thread(self._reach.up, host, {})
        with place.connection:
            command = place.command("-m", "worker.process.serve", place.folder)
            channel = await asyncio.to_thread(place.connection.start, command)
            lines = _Channel(place, channel, self._builds)
            try:
                yield lines
            finally:
                channel.close()
                await asyncio.to_thread(lines.reader.join)

    async def close(self) -> None:
        """Nothing runs between sessions."""


class _Channel:
    """A thread reads, since paramiko blocks; its lines wait in a queue of the event loop."""

    def __init__(self, place: bootstrap.Site, channel: Channel, builds: Path) -> None:
        self._place, self._channel, self._builds = place, channel, builds
        self._placed: set[str] = set()
        self._heard: asyncio.Queue[str | HostError] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    async def place(self, build: str) -> None:
        if build not in self._placed:
            await asyncio.to_thread(place_build, self._place, self._builds, build)
            self._placed.add(build)

    async def say(self, line: str) -> None:
        await asyncio.to_thread(self._channel.send, f"{line}\n".encode())

    async def hear(self) -> str:
        line = await self._heard.get()
        if isinstance(line, HostError):
            self._heard.put_nowait(line)
            raise line
        return line

    def _read(self) -> None:
        name = self._place.connection.name
        try:
            with of_host(name):
                for line in self._channel.lines():
                    self._pass(line)
                words = telling(self._channel.errors()) or "no reason given"
                raise HostError(f"host {name!r}: the session ended: {words}")  # noqa: TRY301  as any other
        except HostError as error:
            self._pass(error)

    def _pass(self, line: str | HostError) -> None:
        self._loop.call_soon_threadsafe(self._heard.put_nowait, line)
