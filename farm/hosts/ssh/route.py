"""The way to a host: what the inventory says of it, and for the rest what ``ssh`` would do.

``ssh -G`` tells that, so ``~/.ssh/config`` holds with all its Host, Match and Include.
"""

from __future__ import annotations

import getpass
import os
import pwd
import re
import subprocess
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from farm.errors import HostRefusedError
from farm.plan.inventory import Host

DEFAULTS = ("id_rsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk")
LONGEST = 8  # machines on the way
ASKING = 20.0  # seconds for ssh to tell
JUMP = re.compile(
    r"(?:ssh://)?(?:(?P<user>[^@]+)@)?(?P<address>\[[^]]+\]|[^:]+)(?::(?P<port>\d+))?"
)

TOKEN = re.compile(r"%(.)")

Settings = Mapping[str, list[str]]


@dataclass(frozen=True)
class Keys:
    """Which keys to offer: of files, and of an agent unless these files' own are meant ``only``.

    ``agent`` is the path of its socket, None for the one that the environment names.
    """

    files: tuple[Path, ...]
    only: bool
    agent: Path | None = None


@dataclass(frozen=True)
class Route:
    """One machine on the way to a host, and ``via`` which other it is reached.

    ``name`` is what the inventory calls it, or the configuration of ssh. ``command`` is a shell
    command whose input and output are the connection, where that configuration has one.
    """

    name: str
    address: str
    port: int
    user: str
    keys: Keys
    via: Route | None = None
    command: str | None = None

    @property
    def machines(self) -> tuple[Route, ...]:
        """Return all machines on the way, the first one to be reached first."""
        return (*(self.via.machines if self.via else ()), self)


def route(name: str, hosts: Mapping[str, Host], passed: tuple[str, ...] = ()) -> Route:
    """Return the way to a host of the inventory; raises HostRefusedError if there is none."""
    if name in passed:
        circle = " -> ".join((*passed, name))
        raise HostRefusedError(f"inventory: 'jump' goes in a circle: {circle}; name another host")
    host = hosts[name]
    user, _, address = (host.address or "").rpartition("@")
    settings = _settings(address, host.user or user, host.port)
    found = _route(name, settings, host.key)
    if host.jump:
        return replace(found, via=route(host.jump, hosts, (*passed, name)), command=None)
    return replace(found, via=_jumps(settings, LONGEST))


def _route(name: str, settings: Settings, key: Path | None = None) -> Route:
    """Return one machine of a way, which begins at it."""
    keys = _keys(settings)
    if key:
        keys = replace(keys, files=(key.expanduser(),), only=True)
    address, port, user = (settings[what][0] for what in ("hostname", "port", "user"))
    command = " ".join(settings["proxycommand"]) or None
    if command:
        tokens = {"h": address, "p": port, "r": user, "n": settings["host"][0], "%": "%"}
        command = TOKEN.sub(lambda found: tokens.get(found[1], found[0]), command)
    return Route(name, address, int(port), user, keys, command=command)


def _jumps(settings: Settings, left: int) -> Route | None:
    """Return the way through the machines of a ProxyJump: the first by its own way."""
    via: Route | None = None
    for number, jump in enumerate(",".join(settings["proxyjump"]).split(",")):
        found = JUMP.fullmatch(jump.strip())
        if not found:
            continue
        if not left:
            raise HostRefusedError(f"{config()}: ProxyJump goes in a circle; correct it")
        address = found["address"].strip("[]")
        own = _settings(address, found["user"] or "", int(found["port"]) if found["port"] else None)
        before = via if number else _jumps(own, left - 1)
        found_there = _route(address, own)
        via = replace(found_there, via=before, command=None if before else found_there.command)
    return via


def _keys(settings: Settings) -> Keys:
    home = str(Path.home())
    names = [name.replace("%d", home) for name in settings["identityfile"]]
    agent = settings["identityagent"][-1] if settings["identityagent"] else "SSH_AUTH_SOCK"
    named = None if agent == "SSH_AUTH_SOCK" else Path(os.path.expandvars(agent)).expanduser()
    return Keys(
        files=tuple(Path(name).expanduser() for name in names),
        only=settings["identitiesonly"] == ["yes"],
        agent=named,
    )


def _settings(address: str, user: str, port: int | None) -> Settings:
    """Return what ssh would do to reach an address; raises HostRefusedError where it refuses."""
    found: dict[str, list[str]] = defaultdict(list)
    own = [*(["-l", user] if user else []), *(["-p", str(port)] if port else [])]
    for line in _told(["ssh", *_elsewhere(), "-G", *own, "--", address]):
        key, _, value = line.partition(" ")
        if value and value != "none":
            found[key].append(value)
    if not found:  # there is no ssh here
        found |= {"hostname": [address], "identityfile": [f"~/.ssh/{one}" for one in DEFAULTS]}
    found.setdefault("host", [address])
    found.setdefault("port", [str(port or 22)])
    found.setdefault("user", [user or getpass.getuser()])
    return found


def _told(command: list[str]) -> list[str]:
    try:
        done = subprocess.run(
            command, capture_output=True, check=False, timeout=ASKING, stdin=subprocess.DEVNULL
        )
    except FileNotFoundError:
        return []
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().partition("\n")[0]
        raise HostRefusedError(f"{said or config()}; ssh refuses it as well: correct it there")
    return done.stdout.decode(errors="replace").splitlines()


def config() -> Path:
    """Return the user's configuration of ssh."""
    return Path.home() / ".ssh" / "config"


def _elsewhere() -> list[str]:
    """Name the configuration to ssh, which does not look at HOME as everything else does."""
    if Path.home() == Path(pwd.getpwuid(os.getuid()).pw_dir):
        return []
    return ["-F", str(config()) if config().exists() else "none"]
