"""The Ray engine: one actor a host passes lines to and from ``worker.process.serve``.

A cluster of its own for each farm run: the head on the coordinator, a node on each host over SSH,
all with a fresh token and fresh certificates. Whatever dies is started again for the next session.
"""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from farm.dispatch.link import Session, Tell
from farm.engines.ray import nodes
from farm.engines.ray.certificates import Authority
from farm.engines.ray.driver import Conversation, Driver
from farm.errors import FarmError, HostError, HostRefusedError
from farm.hosts import held
from farm.hosts.bootstrap import Site
from farm.hosts.held import Held
from farm.hosts.reach import Reach, place_build
from farm.plan.inventory import Host

JOINING = 90.0  # seconds for a node to join and its actor to start


@dataclass(frozen=True)
class _Cluster:
    address: str
    token: str
    authority: Authority
    head: Held
    driver: Driver

    @property
    def alive(self) -> bool:
        return self.driver.alive and not self.head.ended.done()

    def secrets(self, address: str) -> dict[str, str]:
        return nodes.files(self.token, self.authority.issue(address))

    async def end(self) -> None:
        await self.driver.end()
        await asyncio.to_thread(self.head.let_go)


@dataclass(frozen=True)
class _Member:
    cluster: _Cluster
    place: Site
    node: Held
    resource: str

    @property
    def alive(self) -> bool:
        return self.cluster.alive and not self.node.ended.done()

    async def part(self) -> None:
        await asyncio.to_thread(self.node.let_go)
        self.place.connection.close()


class OverRay:
    """Sessions over Ray; ``state`` holds known_hosts and builds, ``tell`` shows the steps done."""

    def __init__(self, hosts: Mapping[str, Host], state: Path, tell: Tell) -> None:
        self._reach = Reach(hosts, state, lambda host, words: tell(f"{host}: {words}"))
        self._builds, self._tell = state / "builds", tell
        self._cluster: _Cluster | None = None
        self._starting = asyncio.Lock()
        self._members: dict[str, asyncio.Task[_Member]] = {}
        self._joins = itertools.count(1)

    @asynccontextmanager
    async def session(self, host: str) -> AsyncIterator[Session]:
        member = await self._member(host)
        driver, place = member.cluster.driver, member.place
        command = place.command("-m", "worker.process.serve", place.folder)
        talk = await driver.open(host, member.resource, command)
        try:
            await _opened(member, talk)
            yield _Lines(member, talk, self._builds)
        finally:
            await driver.close(host)
            if talk.lost or not member.alive:
                await self._part(host)

    async def close(self) -> None:
        await asyncio.gather(*(self._part(host) for host in list(self._members)))
        if self._cluster is not None:
            await self._cluster.end()
            self._cluster = None

    async def _member(self, host: str) -> _Member:
        """Return the host's node, started if there is none that lives."""
        if host in self._members and not (await self._joined(host)).alive:
            await self._part(host)
        if host not in self._members:
            self._members[host] = asyncio.ensure_future(self._join(host))
        return await self._joined(host)

    async def _joined(self, host: str) -> _Member:
        """Wait for a host's node; one that did not start is forgotten, and so tried again."""
        try:
            return await asyncio.shield(self._members[host])
        except FarmError:
            self._members.pop(host, None)
            raise

    async def _part(self, host: str) -> None:
        task = self._members.pop(host)
        [member] = await asyncio.gather(task, return_exceptions=True)
        if isinstance(member, _Member):
            await member.part()

    async def _join(self, host: str) -> _Member:
        place = await asyncio.to_thread(self._reach.up, host, {})
        try:
            own, theirs = _addresses(place)
            await asyncio.to_thread(nodes.check_versions, place)
            cluster = await self._started(own, host)
            await asyncio.to_thread(nodes.check_way, place, own)
            resource = f"host:{host}:{next(self._joins)}"
            self._tell(f"{host}: Ray node: starting")
            order = nodes.node(place.python, own, theirs, resource, cluster.secrets(theirs))
            node = await asyncio.to_thread(held.there, place, order)
            self._tell(f"{host}: Ray node: done")
            return _Member(cluster, place, node, resource)
        except BaseException:
            place.connection.close()
            raise

    async def _started(self, address: str, host: str) -> _Cluster:
        """Return a cluster whose head hosts reach at this address."""
        async with self._starting:
            if self._cluster is not None and not self._cluster.alive:
                await self._cluster.end()
                self._cluster = None
            if self._cluster is None:
                self._tell("Ray head and driver here: starting")
                self._cluster = await _start(address)
            if self._cluster.address != address:
                raise HostRefusedError(
                    f"host {host!r}: sees the coordinator at {address}, others see it at "
                    f"{self._cluster.address}; put them on one network, or: --engine ssh"
                )
            return self._cluster


async def _start(address: str) -> _Cluster:
    """Start a head and a driver."""
    token, authority = secrets.token_hex(32), Authority()
    own = nodes.files(token, authority.issue(address))
    head = await asyncio.to_thread(held.here, nodes.head(address, own))
    try:
        await nodes.listening(address, head.ended)
        driver = await Driver.start(address, nodes.GCS_PORT, nodes.environment(head.folder))
    except BaseException:
        await asyncio.to_thread(head.let_go)
        raise
    # Sessions would go on for a minute without a head, and no new one could begin.
    asyncio.wrap_future(head.ended).add_done_callback(lambda _: driver.kill())
    return _Cluster(address, token, authority, head, driver)


def _addresses(place: Site) -> tuple[str, str]:
    """Return the coordinator's address as the host sees it, and the host's; raises HostError."""
    connection = place.connection
    if connection.way.via or connection.way.command:
        words = "is behind a jump host, which carries no cluster; use: --engine ssh"
        raise HostRefusedError(f"host {connection.name!r}: {words}")
    own, theirs = connection.ends()
    if ":" in own:
        words = f"is reached over IPv6 ({theirs}); name its IPv4 address in the inventory"
        raise HostRefusedError(f"host {connection.name!r}: {words}, or: --engine ssh")
    return own, theirs


async def _opened(member: _Member, talk: Conversation) -> None:
    """Wait until the actor runs; raises HostError with what the node said if it does not."""
    ended = asyncio.wrap_future(member.node.ended)
    either: list[asyncio.Future[Any]] = [talk.opened, ended]
    done, _ = await asyncio.wait(either, timeout=JOINING, return_when=asyncio.FIRST_COMPLETED)
    name = member.place.connection.name
    if talk.lost:
        raise talk.lost
    if talk.opened in done:
        return
    words = ended.result() if ended in done else f"no actor after {JOINING:g} s"
    error = HostError(f"host {name!r}: its Ray node did not join: {words}; or: --engine ssh")
    talk.lose(error)
    raise error


class _Lines:
    def __init__(self, member: _Member, talk: Conversation, builds: Path) -> None:
        self._member, self._talk, self._builds = member, talk, builds
        self._placed: set[str] = set()

    async def place(self, build: str) -> None:
        if build not in self._placed:
            await asyncio.to_thread(place_build, self._member.place, self._builds, build)
            self._placed.add(build)

    async def say(self, line: str) -> None:
        if self._talk.lost:
            raise self._talk.lost
        await self._member.cluster.driver.send(self._member.place.connection.name, line=line)

    async def hear(self) -> str:
        line = await self._talk.lines.get()
        if isinstance(line, HostError):
            self._talk.lines.put_nowait(line)
            raise line
        return line
