"""The farm's own list of host keys."""

from __future__ import annotations

import base64
import hashlib
import threading
from pathlib import Path

import paramiko
from paramiko.hostkeys import HostKeyEntry

from farm.errors import HostRefusedError

PORT = 22
FIELDS = 3  # of a line: names, kind, key
_writing = threading.Lock()


def place(address: str, port: int) -> str:
    """Return the name under which a list of host keys has a server."""
    return address if port == PORT else f"[{address}]:{port}"


def load(path: Path) -> paramiko.HostKeys:
    """Read the list; a line that is no host key refuses every host, since it may be any host's."""
    touch(path)
    for number, line in enumerate(path.read_text(errors="replace").split("\n"), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if not _is_key(line.strip()):
            words = f"{path}: line {number}: is no host key; delete the line"
            raise HostRefusedError(f"{words}, then: farm hosts trust")
    return paramiko.HostKeys(str(path))


def _is_key(line: str) -> bool:
    """Tell whether a line of the list can be read; a kind of key that is unknown here can."""
    try:
        HostKeyEntry.from_line(line)
    except Exception:  # noqa: BLE001  what a broken line makes the library raise is not foreseen
        return False
    return len(line.split()) >= FIELDS


def known(keys: paramiko.HostKeys, where: str, key: paramiko.PKey) -> bool | None:
    """Tell whether a server's key is the recorded one; None if none is recorded."""
    recorded = keys.lookup(where)
    if not recorded:
        return None
    return recorded.get(key.get_name()) == key


def trust(path: Path, where: str, key: paramiko.PKey) -> None:
    """Record a server's key as the one to expect from now on."""
    with _writing:
        keys = load(path)
        if keys.lookup(where):
            del keys[where]
        keys.add(where, key.get_name(), key)
        keys.save(str(path))


def fingerprint(key: paramiko.PKey) -> str:
    """Return a key's fingerprint as ``ssh-keygen -l`` prints it."""
    digest = base64.b64encode(hashlib.sha256(key.asbytes()).digest()).decode().rstrip("=")
    return f"{key.get_name()} SHA256:{digest}"


def touch(path: Path) -> None:
    """Make an empty list, for this user only, where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
