"""Talk to hosts over SSH; the only home of paramiko.

Host keys are the farm's own business: an unknown one is refused until ``farm hosts trust`` has
recorded it, a changed one always.
"""

from __future__ import annotations

import base64
import errno
import getpass
import hashlib
import shlex
import socket
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

import paramiko
from paramiko import Channel as Channel  # noqa: PLC0414  the name others use
from paramiko import ChannelFile as ChannelFile  # noqa: PLC0414  likewise

from farm.errors import HostError, HostRefusedError
from farm.plan.inventory import Host

#: Seconds for connecting, for the banner, and for authentication, each.
CONNECTING = 10.0
PIECE = 65536  # bytes of one read


class Outcome(NamedTuple):
    """How a command ended; ``status`` is -1 when a signal or a lost connection ended it."""

    status: int
    output: str
    errors: str


class Connection:
    """An open connection to one host, through its jump host if it has one."""

    def __init__(self, name: str, hosts: Mapping[str, Host], known_hosts: Path) -> None:
        """Connect; raises HostError with the reason and the remedy."""
        self.name, self.host = name, hosts[name]
        self._opened = ExitStack()
        with ExitStack() as opened:
            via = None
            if self.host.jump:
                via = opened.enter_context(Connection(self.host.jump, hosts, known_hosts))
            self._client = opened.enter_context(paramiko.SSHClient())
            self._client.load_host_keys(str(_touched(known_hosts)))
            self._client.set_missing_host_key_policy(paramiko.RejectPolicy())
            self._connect(via)
            self._opened = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up, here and at the jump host."""
        self._opened.close()

    def run(self, command: list[str], deadline: float, stdin: bytes = b"") -> Outcome:
        """Run a command in the user's home to its end.

        Raises HostError when it has printed nothing for ``deadline`` seconds and is not done.
        """
        try:
            with self.start(command, deadline) as channel:
                _send(channel, stdin)
                output = channel.makefile("rb").read()
                errors = channel.makefile_stderr("rb").read()
                return Outcome(channel.recv_exit_status(), _text(output), _text(errors))
        except TimeoutError as error:
            what = f"{command[0]}: no answer in {deadline:g} s"
            raise HostError(f"host {self.name!r}: {what}; see that it is awake") from error
        except (paramiko.SSHException, OSError) as error:
            raise self.lost(error) from error

    def start(self, command: list[str], deadline: float) -> paramiko.Channel:
        """Start a command; reads from its channel that take ``deadline`` seconds time out."""
        transport = self._client.get_transport()
        if transport is None:
            raise HostError(f"host {self.name!r}: connection lost; try again")
        try:
            channel = transport.open_session(timeout=CONNECTING)
            channel.settimeout(deadline)
            channel.exec_command(shlex.join(command))
        except (paramiko.SSHException, OSError) as error:
            raise self.lost(error) from error
        return channel

    def lost(self, error: Exception) -> HostError:
        """Return the error that says this connection is gone, for a library's own."""
        return HostError(f"host {self.name!r}: connection lost: {error}; try again")

    def _connect(self, via: Connection | None) -> None:
        host = self.host
        address = str(host.address)
        try:
            self._client.connect(
                address,
                port=host.port,
                username=host.user or getpass.getuser(),
                pkey=paramiko.PKey.from_path(host.key.expanduser()) if host.key else None,
                sock=via.tunnel(address, host.port) if via else None,
                timeout=CONNECTING,
                banner_timeout=CONNECTING,
                auth_timeout=CONNECTING,
                channel_timeout=CONNECTING,
                allow_agent=host.key is None,
                look_for_keys=False,
            )
        except (paramiko.SSHException, OSError) as error:
            raise _failure(self.name, address, error) from error

    def ends(self) -> tuple[str, str]:
        """Return the IP addresses of this end and of the host, as the network sees them."""
        transport = self._client.get_transport()
        if transport is None or not isinstance(transport.sock, socket.socket):
            raise HostError(f"host {self.name!r}: connection lost; try again")
        try:
            return transport.sock.getsockname()[0], transport.sock.getpeername()[0]
        except OSError as error:
            raise self.lost(error) from error

    def tunnel(self, address: str, port: int) -> paramiko.Channel:
        """Open a way from this host to another."""
        transport = self._client.get_transport()
        if transport is None:
            raise HostError(f"host {self.name!r}: connection lost; try again")
        return transport.open_channel("direct-tcpip", (address, port), ("", 0), timeout=CONNECTING)


def host_key(name: str, host: Host) -> paramiko.PKey:
    """Ask a host for its key, without believing it; raises HostError."""
    address = str(host.address)
    try:
        with socket.create_connection((address, host.port), timeout=CONNECTING) as sock:
            transport = paramiko.Transport(sock)
            try:
                transport.start_client(timeout=CONNECTING)
                return transport.get_remote_server_key()
            finally:
                transport.close()
    except (paramiko.SSHException, OSError) as error:
        raise _failure(name, address, error) from error


def fingerprint(key: paramiko.PKey) -> str:
    """Return a key's fingerprint as ``ssh-keygen -l`` prints it."""
    digest = base64.b64encode(hashlib.sha256(key.asbytes()).digest()).decode().rstrip("=")
    return f"{key.get_name()} SHA256:{digest}"


def trust(host: Host, key: paramiko.PKey, known_hosts: Path) -> None:
    """Record a host's key as the one to expect from now on."""
    keys = paramiko.HostKeys(str(_touched(known_hosts)))
    place = str(host.address) if host.port == 22 else f"[{host.address}]:{host.port}"  # noqa: PLR2004  SSH's port
    if keys.lookup(place):
        del keys[place]
    keys.add(place, key.get_name(), key)
    keys.save(str(known_hosts))


def _touched(known_hosts: Path) -> Path:
    known_hosts.parent.mkdir(parents=True, exist_ok=True)
    known_hosts.touch(mode=0o600)
    return known_hosts


def _send(channel: Channel, stdin: bytes) -> None:
    try:
        channel.sendall(stdin)
        channel.shutdown_write()
    except TimeoutError:
        raise
    except OSError:
        # A command that fails reads no further; what it printed says why.
        if not channel.closed:
            raise


def _text(raw: bytes) -> str:
    return raw.decode(errors="replace")


def _failure(name: str, address: str, error: Exception) -> HostError:
    """Return why a connection failed, and the remedy; the order goes from special to general."""
    refusals = (
        (
            paramiko.BadHostKeyException,
            "its host key has CHANGED; if you know why: farm hosts trust",
        ),
        (
            paramiko.AuthenticationException,
            "it refused the key; see 'user' and 'key' in the inventory",
        ),
        (socket.gaierror, "no such name; correct 'address' in the inventory"),
    )
    where = f"host {name!r} ({address}): "
    for kind, words in refusals:
        if isinstance(error, kind):
            return HostRefusedError(where + words)
    if "not found in known_hosts" in str(error):
        unknown = f"its host key is not known yet; look at it with: farm hosts trust {name}"
        return HostRefusedError(where + unknown)
    if sys.platform == "darwin" and errno.EHOSTUNREACH in _numbers(error):
        denied = "no route: macOS may deny this program the local network; start it in Terminal"
        return HostError(f"{where}{denied}, or see Privacy & Security > Local Network")
    if isinstance(error, TimeoutError):
        late = f"no answer in {CONNECTING:g} s; see that it is on and in reach"
        return HostError(where + late)
    return HostError(f"{where}{error}; see that Remote Login (SSH) is on")


def _numbers(error: Exception) -> set[int | None]:
    """Return the system's error numbers, of every address that was tried."""
    tried = getattr(error, "errors", {})
    return {getattr(one, "errno", None) for one in (error, *tried.values())}
