"""Record host keys, of a host and of all others on the way to it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from farm.hosts.ssh import known_hosts
from farm.hosts.ssh.connection import server_key
from farm.hosts.ssh.route import route
from farm.plan.inventory import Host


class Shown(NamedTuple):
    """A machine's key: whose, and whether it is ``recorded``, ``new`` or ``CHANGED``."""

    machine: str
    fingerprint: str
    state: str


def trust(name: str, hosts: Mapping[str, Host], listed: Path, *, record: bool) -> list[Shown]:
    """Ask every machine on the way for its key; ``record`` them as the ones to expect from now on.

    What lies behind a key that is not recorded is not asked. Raises HostError.
    """
    shown = []
    for way in route(name, hosts).machines:
        key = server_key(way, listed)
        place = known_hosts.place(way.address, way.port)
        known = known_hosts.known(known_hosts.load(listed), place, key)
        state = {None: "new", True: "recorded", False: "CHANGED"}[known]
        shown.append(Shown(way.name, known_hosts.fingerprint(key), state))
        if not known and record:
            known_hosts.trust(listed, place, key)
        elif not known:
            break
    return shown
