"""The SSH engine: a session with ``worker.process.serve`` held open, nothing else on the host."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from farm.dispatch.link import Session, Tell
from farm.errors import HostError
from farm.hosts import bootstrap
from farm.hosts.reach import Reach, place_build
from farm.hosts.ssh import Channel
from farm.plan.inventory import Host

LOOK = 60.0  # seconds between looks of the reading thread whether anybody still listens


class Remote:
    """Sessions over SSH; ``state`` holds known_hosts and builds, ``tell`` shows the steps done."""

    def __init__(self, hosts: Mapping[str, Host], state: Path, tell: Tell) -> None:
        self._reach = Reach(hosts, state, tell)
        self._builds = state / "builds"

    @asynccontextmanager
    async def session(self, host: str) -> AsyncIterator[Session]:
        place = await asyncio.to_thread(self._reach.up, host)
        with place.connection:
            command = place.command("-m", "worker.process.serve", place.folder)
            channel = await asyncio.to_thread(place.connection.start, command, LOOK)
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
        try:
            await asyncio.to_thread(self._channel.sendall, f"{line}\n".encode())
        except OSError as error:
            raise self._place.connection.lost(error) from error

    async def hear(self) -> str:
        line = await self._heard.get()
        if isinstance(line, HostError):
            self._heard.put_nowait(line)
            raise line
        return line

    def _read(self) -> None:
        rest = b""
        while True:
            try:
                piece = self._channel.recv(65536)
            except TimeoutError:
                continue
            except OSError as error:
                self._pass(self._place.connection.lost(error))
                return
            if not piece:
                self._pass(HostError(f"host {self._place.connection.name!r}: {self._last_words()}"))
                return
            *whole, rest = (rest + piece).split(b"\n")
            for line in whole:
                self._pass(line.decode())

    def _pass(self, line: str | HostError) -> None:
        self._loop.call_soon_threadsafe(self._heard.put_nowait, line)

    def _last_words(self) -> str:
        words = self._channel.makefile_stderr("rb").read().decode(errors="replace")
        words = words.strip().rpartition("\n")[2]
        return f"the session ended: {words or 'no reason given'}"
