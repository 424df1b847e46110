"""Hosts brought up: connected to, with harness and packages in place, each machine once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from farm.errors import HostRefusedError
from farm.hosts import bootstrap
from farm.hosts.ssh.connection import Connection
from farm.plan.inventory import Host


class Reach:
    """Connections to hosts that have all they need; two names of one machine are told apart.

    ``tell`` takes a host and what is done on it.
    """

    def __init__(
        self, hosts: Mapping[str, Host], state: Path, tell: Callable[[str, str], None]
    ) -> None:
        self._hosts, self._known_hosts, self._tell = hosts, state / "known_hosts", tell
        self._machines: dict[str, str] = {}
        self._lock = threading.Lock()

    def up(
        self,
        host: str,
        builds: Mapping[str, Path],
        count: Callable[[str], None] = lambda _: None,
    ) -> bootstrap.Site:
        """Connect to a host and do what it lacks, these builds included; raises HostError.

        ``count`` takes the end of each step, ``was there`` or ``done``.
        """
        tell = partial(self._tell, host)
        begun = time.perf_counter()
        tell("connecting")
        connection = Connection(host, self._hosts, self._known_hosts)
        try:
            tell("looking for its Python")
            place = bootstrap.site(connection)
            self._meet(host, place.found.machine)
            for step, done in bootstrap.bring_up(place, bootstrap.steps(place, builds), tell):
                tell(f"{step}: {done}")
                count(done)
        except BaseException:
            connection.close()
            raise
        tell(f"up after {time.perf_counter() - begun:.1f} s")
        return place

    def _meet(self, host: str, machine: str) -> None:
        with self._lock:
            other = self._machines.setdefault(machine, host)
        if other != host:
            raise HostRefusedError(
                f"host {host!r}: is the same machine as {other!r}, which would disturb it; "
                "keep one of them in the inventory"
            )


def place_build(place: bootstrap.Site, builds: Path, build: str) -> None:
    """Put a build on a host, unless it is there; raises HostError."""
    step = bootstrap.build_step(place, build, builds / build / "turbo")
    for _ in bootstrap.bring_up(place, [step], lambda _: None):
        pass
