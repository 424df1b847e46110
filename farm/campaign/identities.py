"""What hosts and their users are called, to be taken out of what is sent to others."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import TypeAdapter, ValidationError

from farm.errors import FarmError, HostError
from farm.hosts import bootstrap
from farm.hosts.answers import QUICK
from farm.hosts.said import telling
from farm.hosts.ssh.channel import Outcome
from farm.hosts.ssh.connection import Connection
from farm.plan.inventory import Inventory
from worker.machine import identity

MODULE = "worker.machine.identity"

_NAMES = TypeAdapter(dict[str, list[str]])


def told(host: str, done: Outcome) -> dict[str, list[str]]:
    """Return the names that a host told of itself by ``MODULE``; raises FarmError for none."""
    try:
        return _NAMES.validate_json(done.output)
    except ValidationError as error:
        why = telling(done.errors) or telling(done.output) or "nothing"
        raise FarmError(f"host {host!r}: does not tell its names: {why}") from error


def of_inventory(known: Inventory, name: str) -> list[str]:
    """Return what the inventory calls a host, if it has one so named."""
    host = known.hosts.get(name)
    return [name, *filter(None, [host.address, host.user])] if host else []


def of_hosts(known: Inventory, hosts: Iterable[str]) -> dict[str, list[str]]:
    """Return all names of this machine and of these hosts, by what takes their place.

    Each host has a number of its own, so that several stay several. Raises FarmError where one
    cannot be asked.
    """
    names = identity.names()
    for number, name in enumerate(sorted(hosts), start=1):
        own = _asked(known, name) if name in known.hosts and known.hosts[name].address else {}
        names[f"host {number}"] = [*of_inventory(known, name), *own.get("host", [])]
        names["user"] = [*names["user"], *own.get("user", [])]
    return names


def _asked(known: Inventory, name: str) -> dict[str, list[str]]:
    try:
        with Connection(name, known.hosts, known.state / "known_hosts") as connection:
            command = bootstrap.site(connection).command("-m", MODULE)
            return told(name, connection.run(command, QUICK))
    except HostError as error:
        raise FarmError(
            f"{error}; so nobody knows which names to leave out of the bundle. The run is stored; "
            "farm export RUN.jsonl has it, names and all"
        ) from error
