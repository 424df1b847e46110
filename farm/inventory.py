"""The inventory: which hosts, which subject, where the records go."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from farm import yaml_file
from farm.errors import ConfigurationError, FarmError, Problem

FILE = Path("inventory.yaml")


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Host(_Strict):
    """One machine, reached over SSH unless it is this one.

    What it is (chip, memory) is measured there, never declared. ``folder`` is the only place of the
    host that the farm writes to; ``python`` makes the virtual environment there, or, where
    ``environment`` is ``provided``, has all packages already.
    """

    local: bool = Field(default=False, description="the machine that the farm itself runs on")
    address: str | None = Field(default=None, description="name or address, for SSH")
    user: str | None = Field(default=None, description="user there; default: who runs the farm")
    port: int = Field(default=22, ge=1, le=65535, description="port of its SSH server")
    key: Path | None = Field(default=None, description="private key; default: the SSH agent")
    jump: str | None = Field(default=None, description="host of the inventory to go through")
    folder: str = Field(default=".turbofarm", description="the farm's folder there")
    python: str = Field(default="python3", description="Python 3.11 or newer there")
    environment: Literal["managed", "provided"] = Field(
        default="managed", description="whether the farm installs packages, or finds them"
    )
    labels: tuple[str, ...] = Field(default=(), description="words of your own")


class Subject(_Strict):
    """The cache under test: a package's folder in a git repository."""

    repository: Path = Field(default=Path(), description="the git repository")
    path: str = Field(default="worker/turbo", description="the package's folder in it")


class Inventory(_Strict):
    """``inventory.yaml``; paths in it count from its own folder."""

    database: str = Field(default=".farm/farm.db", description="where records go")
    state: Path = Field(default=Path(".farm"), description="builds, host keys, what is kept")
    subject: Subject = Field(default=Subject(), description="the cache under test")
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
    """Return the hosts asked for, all by default; raises FarmError for unknown names."""
    known = list(inventory.hosts)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise FarmError(
            "\n".join(
                f"inventory: host {name!r}: unknown; {yaml_file.suggest(name, known)}"
                for name in unknown
            )
        )
    return names or known


def _problems(path: Path, inventory: Inventory) -> Iterator[Problem]:
    for name, host in inventory.hosts.items():
        if host.local == bool(host.address):
            place = yaml_file.line(path, ("hosts", name))
            yield Problem(
                str(path), place, "a host needs an address or 'local: true'", "add one of them"
            )
        via = inventory.hosts.get(host.jump) if host.jump else None
        if host.jump and (via is None or via.local or via.jump):
            place = yaml_file.line(path, ("hosts", name, "jump"))
            known = [other for other, spec in inventory.hosts.items() if spec.address]
            remedy = yaml_file.suggest(host.jump, known)
            yield Problem(str(path), place, f"{host.jump!r} is no host to jump from", remedy)


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
