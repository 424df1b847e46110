"""The SSH engine: a held-open session with ``worker.serve``, nothing resident on the host."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from farm import bootstrap
from farm.errors import HostError, HostRefusedError
from farm.inventory import Host
from farm.line import Session, Tell
from farm.ssh import Channel, Connection

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
            command = place.command("-m", "worker.serve", place.folder)
            channel = await asyncio.to_thread(place.connection.start, command, LOOK)
            lines = _Channel(place, channel, self._builds)
            try:
                yield lines
            finally:
                channel.close()
                await asyncio.to_thread(lines.reader.join)

    async def close(self) -> None:
        """Nothing runs between sessions."""


class Reach:
    """Connections to hosts that have all they need; two names of one machine are told apart."""

    def __init__(self, hosts: Mapping[str, Host], state: Path, tell: Tell) -> None:
        self._hosts, self._known_hosts, self._tell = hosts, state / "known_hosts", tell
        self._machines: dict[str, str] = {}

    def up(self, host: str) -> bootstrap.Site:
        """Connect to a host and do what it lacks, short of builds; raises HostError."""
        begun = time.perf_counter()
        connection = Connection(host, self._hosts, self._known_hosts)
        try:
            place = bootstrap.site(connection)
            self._meet(host, bootstrap.machine(place))
            for step, done in bootstrap.bring_up(place, bootstrap.steps(place, {})):
                self._tell(f"{host}: {step}: {done}")
        except BaseException:
            connection.close()
            raise
        self._tell(f"{host}: up after {time.perf_counter() - begun:.1f} s")
        return place

    def _meet(self, host: str, machine: str) -> None:
        other = self._machines.setdefault(machine, host)
        if other != host:
            raise HostRefusedError(
                f"host {host!r}: is the same machine as {other!r}, which would disturb it; "
                "keep one of them in the inventory"
            )


def place_build(place: bootstrap.Site, builds: Path, build: str) -> None:
    """Put a build on a host, unless it is there; raises HostError."""
    step = bootstrap.build_step(place, build, builds / build / "turbo")
    for _ in bootstrap.bring_up(place, [step]):
        pass


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
