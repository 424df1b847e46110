"""The inventory: which hosts, which subject, where the records go."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from farm.errors import ConfigurationError, FarmError, Problem
from farm.plan import yaml_file

FILE = Path("inventory.yaml")
PORT = re.compile(r"(?P<address>\[[^]]+\]|[^:]+):(?P<port>\d+)")


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Host(_Strict):
    """One machine, reached over SSH unless it is this one.

    What it is (chip, memory) is measured there, never declared. ``folder`` is the only place of the
    host that the farm writes to; ``python`` makes the virtual environment there, or, where
    ``environment`` is ``provided``, has all packages already. Hosts of one ``class`` are equal: a
    run measures each cell on any one of them. ``wheels`` is a folder here whose packages are
    carried to a host that cannot reach the package index.
    """

    local: bool = Field(default=False, description="the machine that the farm itself runs on")
    address: str | None = Field(default=None, description="what you give to ssh: a name or address")
    user: str | None = Field(default=None, description="user there; default: as ssh has it")
    port: int | None = Field(
        default=None, ge=1, le=65535, description="port of its SSH server; default: as ssh has it"
    )
    key: Path | None = Field(
        default=None, description="private key; default: the agent's keys and files, as ssh has it"
    )
    jump: str | None = Field(default=None, description="host of the inventory to go through")
    folder: str = Field(default=".turbofarm", description="the farm's folder there")
    python: str = Field(default="python3", description="Python 3.11 or newer there")
    environment: Literal["managed", "provided"] = Field(
        default="managed", description="whether the farm installs packages, or finds them"
    )
    wheels: Path | None = Field(default=None, description="folder here with packages for it")
    device_class: str | None = Field(
        default=None, alias="class", description="hosts of one class are equal"
    )
    labels: tuple[str, ...] = Field(default=(), description="words of your own")


class Subject(_Strict):
    """The cache under test: a package's folder in a git repository."""

    repository: Path = Field(default=Path(), description="the git repository")
    path: str = Field(default="worker/turbo", description="the package's folder in it")
    url: str | None = Field(
        default=None,
        pattern="^https?://",
        description="the repository's page on the web, for links; default: by its remote",
    )


class Inventory(_Strict):
    """``inventory.yaml``; paths in it count from its own folder.

    ``engine`` reaches the hosts that have an address; ``groups`` are short names for several hosts.
    """

    database: str = Field(default=".farm/farm.db", description="where records go")
    state: Path = Field(default=Path(".farm"), description="builds, host keys, what is kept")
    subject: Subject = Field(default=Subject(), description="the cache under test")
    engine: Literal["ray", "ssh"] = Field(default="ray", description="how to reach other machines")
    groups: dict[str, tuple[str, ...]] = Field(
        default={}, description="short names for several hosts"
    )
    hosts: dict[str, Host] = Field(
        default_factory=lambda: {"local": Host(local=True)},
        description="the machines, by their names",
    )


def load(path: Path) -> Inventory:
    """Read an inventory; without the file there is one host, this machine.

    Raises ConfigurationError with every problem of the file.
    """
    if not path.exists() and path == FILE:
        return _anchored(Inventory(), Path.cwd())
    inventory = yaml_file.read(path, Inventory)
    problems = list(_problems(path, inventory))
    if problems:
        raise ConfigurationError(problems)
    return _anchored(inventory, path.resolve().parent)


def choose(inventory: Inventory, names: list[str]) -> list[str]:
    """Return the hosts asked for by their own names, groups or classes; all by default.

    Raises FarmError for unknown names.
    """
    if not names:
        return list(inventory.hosts)
    several = dict(inventory.groups) | classes(inventory)
    known = [*inventory.hosts, *several]
    if unknown := [name for name in names if name not in known]:
        raise FarmError(
            "\n".join(
                f"inventory: host {name!r}: unknown; {yaml_file.suggest(name, known)}"
                for name in unknown
            )
        )
    return list(dict.fromkeys(one for name in names for one in several.get(name, (name,))))


def targets(inventory: Inventory, names: list[str]) -> list[str]:
    """Return whom a run's jobs are for: hosts, and classes of which any host will do.

    A host that is named does its jobs itself; without names each class counts as one.
    """
    if not names:
        hosts = inventory.hosts.items()
        return list(dict.fromkeys(host.device_class or name for name, host in hosts))
    shared = [name for name in names if name in classes(inventory)]
    named = [name for name in names if name not in shared]
    return [*(choose(inventory, named) if named else []), *shared]


def classes(inventory: Inventory) -> dict[str, tuple[str, ...]]:
    """Return the hosts of each device class."""
    found: dict[str, tuple[str, ...]] = {}
    for name, host in inventory.hosts.items():
        if host.device_class:
            found[host.device_class] = (*found.get(host.device_class, ()), name)
    return found


def _problems(path: Path, inventory: Inventory) -> Iterator[Problem]:
    for name, host in inventory.hosts.items():
        for key, problem, remedy in _wrong(name, host, inventory):
            place = yaml_file.line(path, ("hosts", name, *([key] if key else [])))
            yield Problem(str(path), place, problem, remedy)
    for group, members in inventory.groups.items():
        place = yaml_file.line(path, ("groups", group))
        for member in members:
            if member not in inventory.hosts:
                remedy = yaml_file.suggest(member, list(inventory.hosts))
                yield Problem(str(path), place, f"no host {member!r}", remedy)
        if group in inventory.hosts:
            yield Problem(str(path), place, "a host has this name too", "choose another name")


def _wrong(name: str, host: Host, inventory: Inventory) -> Iterator[tuple[str, str, str]]:
    """Yield key, problem and remedy of all that is wrong with a host."""
    if host.local == bool(host.address):
        yield "", "a host needs an address or 'local: true'", "add one of them"
    if found := PORT.fullmatch(host.address or ""):
        remedy = f"write: address: {found['address']}, port: {found['port']}"
        yield "address", f"{host.address!r} has a port in it", remedy
    if host.device_class in {*inventory.hosts, *inventory.groups}:
        what = f"class {host.device_class!r} is the name of a host or group too"
        yield "class", what, "choose another name"
    if not host.jump:
        return
    via = inventory.hosts.get(host.jump)
    if via is None or via.local:
        known = [other for other, spec in inventory.hosts.items() if spec.address and other != name]
        what = f"{host.jump!r} is no host to jump from"
        yield "jump", what, yaml_file.suggest(host.jump, known)
    elif name in (circle := _jumps(name, inventory)):
        yield "jump", f"goes in a circle: {' -> '.join((name, *circle))}", "name another host"


def _jumps(name: str, inventory: Inventory) -> list[str]:
    """Return the hosts to jump from on the way to one, until one comes again."""
    passed: list[str] = []
    host = inventory.hosts.get(name)
    while host and host.jump and host.jump not in passed:
        passed.append(host.jump)
        host = inventory.hosts.get(host.jump)
    return passed


def _anchored(inventory: Inventory, folder: Path) -> Inventory:
    database = inventory.database
    if "://" not in database:
        database = str(folder / database)
    subject = inventory.subject
    return inventory.model_copy(
        update={
            "database": database,
            "state": folder / inventory.state,
            "subject": subject.model_copy(update={"repository": folder / subject.repository}),
        }
    )
