"""The keys to offer to a server, in the order of ``ssh``: those of the agent, then files."""

from __future__ import annotations

import base64
import getpass
import os
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import paramiko
from paramiko.agent import AgentKey, AgentSSH

from farm.hosts.ssh.route import Keys
from farm.report.live import undisturbed

AGENT_WAITS = 10.0  # seconds for an agent to answer in
TRIES = 3  # for a passphrase
OPENSSH = b"openssh-key-v1"  # how its own format begins, before a zero
SECURITY_KEY = b"sk-"  # how the kinds of keys begin that lie on a device of their own
TOUCH = (
    "is a security key's, which wants a touch each time; make the farm a key of its own: "
    "ssh-keygen -t ed25519 -f ~/.ssh/turbofarm, then ssh-copy-id -i ~/.ssh/turbofarm USER@ADDRESS, "
    "and name it by 'key' in the inventory"
)

_asking = threading.Lock()
#: Keys whose passphrase was asked for, None where it was not told: in this process's memory alone.
_unlocked: dict[Path, paramiko.PKey | None] = {}


@dataclass(frozen=True)
class Offer:
    """A key to try: what errors call it; ``found`` is the key, or why it cannot be used.

    A key whose file needs a passphrase is None until it is loaded.
    """

    name: str
    found: paramiko.PKey | str | None
    path: Path = Path()

    def load(self) -> paramiko.PKey | str:
        """Return the key, or why it cannot be used; may ask for its passphrase."""
        return _unlock(self.path) if self.found is None else self.found


Offers = Iterator[Offer]


def offers(keys: Keys, opened: ExitStack) -> Offers:
    """Yield keys as ``ssh`` tries them; the agent stays connected until ``opened`` is closed.

    What needs a passphrase comes last, so that nobody is asked for nothing.
    """
    held = _agent(keys.agent, opened)
    files = [path for path in keys.files if path.exists() or keys.only]
    public = {path: _public(path) for path in files}
    ours = [key for key in held if key.blob in public.values()]
    for key in [*ours, *(key for key in held if key not in ours and not keys.only)]:
        kind = key.get_name()
        touched = TOUCH if kind.encode().startswith(SECURITY_KEY) else None
        yield Offer(f"the agent's {kind} {key.comment}".rstrip(), touched or key)
    blobs = [key.blob for key in ours]
    left = [Offer(_short(path), _load(path), path) for path in files if public[path] not in blobs]
    yield from sorted(left, key=lambda offer: offer.found is None)


def none_found(keys: Keys) -> str:
    """Return where keys were looked for in vain."""
    agent = keys.agent or os.environ.get("SSH_AUTH_SOCK")
    where = f"the agent {agent} has no key" if agent else "no agent runs (SSH_AUTH_SOCK is not set)"
    files = ", ".join(_short(path) for path in keys.files)
    return f"there is no key to try: {where}, and none of these exists: {files}"


def _agent(path: Path | None, opened: ExitStack) -> list[AgentKey]:
    """Return the keys of an agent; one that does not answer has none."""
    named = path or os.environ.get("SSH_AUTH_SOCK")
    if not named:
        return []
    agent = AgentSSH()
    link = opened.enter_context(socket.socket(socket.AF_UNIX))
    link.settimeout(AGENT_WAITS)
    with suppress(OSError, paramiko.SSHException):
        link.connect(str(named))
        connect = agent._connect  # type: ignore[attr-defined]  # noqa: SLF001  only it takes a path
        connect(link)
    return list(agent.get_keys())


def _public(path: Path) -> bytes | None:
    """Return the public half of a key: from the file beside it, or as OpenSSH's own format has it.

    That half is readable without the passphrase.
    """
    with suppress(OSError, ValueError, IndexError):
        text = path.with_name(f"{path.name}.pub").read_text(errors="replace")
        return base64.b64decode(text.split()[1])
    with suppress(OSError, ValueError):
        lines = path.read_text(errors="replace").strip().splitlines()
        magic, _, rest = base64.b64decode("".join(lines[1:-1])).partition(b"\0")
        if magic == OPENSSH:
            whole = paramiko.Message(rest)
            for _ in ("cipher", "kdf", "its options"):
                whole.get_string()
            whole.get_int()  # how many keys: one
            return whole.get_string()
    return None


def _kind(public: bytes | None) -> bytes:
    """Return what a public half says it is, such as ``ssh-ed25519``."""
    return paramiko.Message(public or b"\0\0\0\0").get_string()


def _load(path: Path, passphrase: bytes | None = None) -> paramiko.PKey | str | None:
    """Return a file's key, why it is none that can be used, or None: it needs a passphrase."""
    try:
        # The stubs say text, and cryptography takes bytes alone.
        return paramiko.PKey.from_path(path, password=passphrase)  # type: ignore[arg-type]
    except TypeError:
        return None
    except OSError as error:
        return f"{error.strerror}"
    except Exception as error:  # noqa: BLE001  paramiko, cryptography and bcrypt raise their own
        return _unusable(path, error)


def _unusable(path: Path, error: Exception) -> str:
    if _kind(_public(path)).startswith(SECURITY_KEY):
        return TOUCH
    head = path.read_bytes()[:40]
    if head.startswith((b"ssh-", b"ecdsa-", b"sk-")):
        return "is the public half: name the file without .pub"
    if head.startswith(b"PuTTY"):
        return "is PuTTY's: puttygen FILE -O private-openssh -o NEW"
    if b"PRIVATE KEY" not in head:
        return "is no private key"
    return f"is of a kind that needs the agent: ssh-add {path} ({type(error).__name__})"


def _unlock(path: Path) -> paramiko.PKey | str:
    """Ask for a passphrase on the terminal, once in the life of this process."""
    with _asking:
        if path not in _unlocked:
            _unlocked[path] = _asked(path)
        return _unlocked[path] or f"has a passphrase: ssh-add {_short(path)}"


def _asked(path: Path) -> paramiko.PKey | None:
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None
    with undisturbed():
        for _ in range(TRIES):
            try:
                told = getpass.getpass(f"passphrase of {_short(path)} (empty: go without): ")
            except EOFError:
                return None
            if not told:
                return None
            key = _load(path, told.encode())
            if isinstance(key, paramiko.PKey):
                return key
    return None


def _short(path: Path) -> str:
    """Return a path as people write it."""
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) else str(path)
