"""An open connection to a host, through as many others as lie on its way."""

from __future__ import annotations

import secrets
import socket
import subprocess
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self

import paramiko

from farm.errors import HostError, HostRefusedError
from farm.hosts.ssh import keys, known_hosts, shell
from farm.hosts.ssh.channel import Channel, Outcome, lost
from farm.hosts.ssh.failures import CONNECTING, of_reaching, where
from farm.hosts.ssh.route import Route, route
from farm.plan.inventory import Host

CONNECTIONS = 4  # a server that ends one after six keys is given the others on the next
PROHIBITED = 1  # SSH's number for a server that will never open a channel; others pass


class Connection:
    """A host that takes commands."""

    def __init__(self, name: str, hosts: Mapping[str, Host], known_hosts: Path) -> None:
        """Connect; raises HostError with the reason and the remedy."""
        self.name, self.host = name, hosts[name]
        self._hosts, self._known_hosts = hosts, known_hosts
        self.way = route(name, hosts)
        self._opened = ExitStack()
        self._spare: Connection | None = None
        self._served = False
        with ExitStack() as opened:
            self._transport = reach(self.way, known_hosts, opened)
            self._opened = opened.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Hang up, here and at every host on the way."""
        self._opened.close()

    def run(self, command: list[str], deadline: float, stdin: Iterable[bytes] = ()) -> Outcome:
        """Run a command in the user's home to its end; ``stdin`` comes in pieces.

        Raises HostError when it has printed nothing for ``deadline`` seconds and is not done.
        """
        with self.start(command, deadline) as channel:
            try:
                channel.feed(stdin)
                return channel.outcome()
            except TimeoutError as error:
                what = f"{command[0]}: no answer in {deadline:g} s"
                raise HostError(f"host {self.name!r}: {what}; see that it is awake") from error

    def start(self, command: list[str], deadline: float | None = None) -> Channel:
        """Start a command; reads from its channel that take ``deadline`` seconds time out."""
        mark = f"turbofarm-{secrets.token_hex(8)}"
        try:
            raw = self._transport.open_session(timeout=CONNECTING)
        except paramiko.ChannelException as error:
            return self._sibling(error).start(command, deadline)
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise lost(self.name, error) from error
        self._served = True
        channel = Channel(raw, self.name, mark)
        try:
            raw.exec_command(shell.line(command, mark))
            channel.begin(deadline)
        except (paramiko.SSHException, OSError, EOFError) as error:
            channel.close()
            raise lost(self.name, error) from error
        except BaseException:
            channel.close()
            raise
        return channel

    def ends(self) -> tuple[str, str]:
        """Return the IP addresses of this end and of the host, as the network sees them."""
        sock = self._transport.sock
        if self.way.via or self.way.command or not isinstance(sock, socket.socket):
            raise HostRefusedError(f"host {self.name!r}: has no address of its own here")
        try:
            return sock.getsockname()[0], sock.getpeername()[0]
        except OSError as error:
            raise lost(self.name, error) from error

    def _sibling(self, error: paramiko.ChannelException) -> Connection:
        """Return another connection, for a server that takes few sessions over one."""
        if error.code == PROHIBITED or not self._served:
            words = f"it opens no session ({error.text}); see MaxSessions in its sshd_config"
            raise HostRefusedError(f"host {self.name!r}: {words}") from error
        if self._spare is None:
            again = Connection(self.name, self._hosts, self._known_hosts)
            self._spare = self._opened.enter_context(again)
        return self._spare


def reach(way: Route, listed: Path, opened: ExitStack) -> paramiko.Transport:
    """Connect to a machine and prove who we are; ``opened`` closes it, and all on the way."""
    via = reach(way.via, listed, opened) if way.via else None
    tried: list[str] = []
    offers = keys.offers(way.keys, opened)
    for _ in range(CONNECTIONS):
        transport = opened.enter_context(_greeted(way, via, listed, opened))
        if _let_in(transport, way, offers, tried):
            return transport
        if transport.is_active():
            break
    raise _refused(way, tried)


def server_key(way: Route, listed: Path) -> paramiko.PKey:
    """Ask a machine for its key, without believing it; raises HostError."""
    with ExitStack() as opened:
        via = reach(way.via, listed, opened) if way.via else None
        with of_reaching(way):
            transport = opened.enter_context(_negotiated(way, via, (), opened))
            return transport.get_remote_server_key()


def _greeted(
    way: Route, via: paramiko.Transport | None, listed: Path, opened: ExitStack
) -> paramiko.Transport:
    """Connect to a machine whose key is the recorded one."""
    recorded = known_hosts.load(listed)
    place = known_hosts.place(way.address, way.port)
    kinds = tuple(recorded.lookup(place) or ())
    with of_reaching(way):
        transport = _negotiated(way, via, kinds, opened)
    known = known_hosts.known(recorded, place, transport.get_remote_server_key())
    if known:
        return transport
    transport.close()
    if known is None:
        words = f"its host key is not known yet; look at it with: farm hosts trust {way.name}"
        raise HostRefusedError(f"{where(way)}: {words}")
    words = f"its host key has CHANGED; if you know why: farm hosts trust {way.name}"
    raise HostRefusedError(f"{where(way)}: {words}")


def _negotiated(
    way: Route, via: paramiko.Transport | None, kinds: tuple[str, ...], opened: ExitStack
) -> paramiko.Transport:
    """Connect and agree on how to encrypt, with a host key of one of these kinds if there is."""
    to = (way.address, way.port)
    if way.command:
        transport = paramiko.Transport(_commanded(way.command, opened))
    elif via is None:
        transport = paramiko.Transport(socket.create_connection(to, CONNECTING))
    else:
        way_on = via.open_channel("direct-tcpip", to, ("", 0), timeout=CONNECTING)
        transport = paramiko.Transport(way_on)
    try:
        transport.banner_timeout = transport.auth_timeout = CONNECTING
        options = transport.get_security_options()
        wanted = [kind for kind in options.key_types if _family(kind) in map(_family, kinds)]
        options.key_types = [*wanted, *(kind for kind in options.key_types if kind not in wanted)]
        transport.start_client(timeout=CONNECTING)
    except BaseException:
        transport.close()
        raise
    if not transport.initial_kex_done:  # paramiko says nothing when the time is over
        transport.close()
        raise paramiko.SSHException(f"nothing was agreed on in {CONNECTING:g} s")
    return transport


def _commanded(command: str, opened: ExitStack) -> socket.socket:
    """Return the connection that a command makes, as ssh lets the user's shell run it."""
    ours, its = socket.socketpair()
    with its:
        # It is of the user's own configuration, and ssh has a shell run it, too.
        process = subprocess.Popen(
            ["sh", "-c", f"exec {command}"],
            stdin=its.fileno(),
            stdout=its.fileno(),
            stderr=subprocess.DEVNULL,
        )
    opened.callback(process.wait)
    opened.callback(process.terminate)
    return ours


def _family(kind: str) -> str:
    """Return the kind of key that a way of signing belongs to."""
    return "rsa" if "rsa" in kind else kind


def _let_in(
    transport: paramiko.Transport, way: Route, offers: keys.Offers, tried: list[str]
) -> bool:
    """Offer keys until one is taken, none is left, or the server hangs up."""
    for offer in offers:
        key = offer.load()
        if isinstance(key, str):
            tried.append(f"{offer.name} ({key})")
            continue
        try:
            if not transport.auth_publickey(way.user, key):
                return True
            tried.append(f"{offer.name} (taken, but the server asks for more than a key)")
        except paramiko.BadAuthenticationType as error:
            kinds = ", ".join(error.allowed_types)
            words = f"it lets in by {kinds} alone; allow keys there (PubkeyAuthentication yes)"
            raise HostRefusedError(f"{where(way)}: {words}") from error
        except (paramiko.SSHException, OSError, EOFError, ValueError) as error:
            told = "" if isinstance(error, paramiko.AuthenticationException) else f" ({error})"
            tried.append(f"{offer.name}{told}")
        if not transport.is_active():
            return False
    return False


def _refused(way: Route, tried: list[str]) -> HostRefusedError:
    copy = f"ssh-copy-id {way.user}@{way.address}"
    if not tried:
        words = f"{keys.none_found(way.keys)}; make one with ssh-keygen, then: {copy}"
    else:
        words = (
            "it refused the key; see 'user' and 'key' in the inventory; tried as user "
            f"{way.user!r}: {', '.join(tried)}; if none is known there: {copy}"
        )
    return HostRefusedError(f"{where(way)}: {words}")
