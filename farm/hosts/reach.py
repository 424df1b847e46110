"""Hosts brought up: connected to, with harness and packages in place, each machine once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

from farm.errors import HostRefusedError
from farm.hosts import bootstrap
from farm.hosts.ssh import Connection
from farm.plan.inventory import Host


class Reach:
    """Connections to hosts that have all they need; two names of one machine are told apart."""

    def __init__(self, hosts: Mapping[str, Host], state: Path, tell: Callable[[str], None]) -> None:
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
