"""Why a host was not reached, and the remedy, for each error of the libraries in between."""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import paramiko

from farm.errors import FarmError, HostError, HostRefusedError
from farm.hosts.ssh.route import Route

#: Seconds for connecting, for the server's first line, and for each key, each.
CONNECTING = 10.0


@contextmanager
def of_reaching(way: Route) -> Iterator[None]:
    """Turn what goes wrong on the way to a machine into HostError with the remedy."""
    try:
        yield
    except FarmError:
        raise
    except (paramiko.SSHException, OSError, EOFError, UnicodeError) as error:
        kind, words = _told(way, error)
        raise kind(f"{where(way)}: {words}") from error


def where(way: Route) -> str:
    """Return how errors call a machine."""
    own = f"{way.address}" if way.port == 22 else f"{way.address}, port {way.port}"  # noqa: PLR2004  SSH's port
    through = f", by way of {way.via.name}" if way.via else ""
    return f"host {way.name!r} ({own}{through})"


def _told(way: Route, error: Exception) -> tuple[type[HostError], str]:
    """Return kind and words of an error; the order goes from special to general."""
    if isinstance(error, paramiko.ChannelException):
        return _not_forwarded(way, error)
    if isinstance(error, socket.gaierror | UnicodeError):
        return HostRefusedError, "no such name; correct 'address' in the inventory"
    if sys.platform == "darwin" and errno.EHOSTUNREACH in _numbers(error):
        denied = "no route: macOS may deny this program the local network; start it in Terminal"
        return HostError, f"{denied}, or see Privacy & Security > Local Network"
    if isinstance(error, TimeoutError):
        return HostError, f"no answer in {CONNECTING:g} s; see that it is on and in reach"
    if isinstance(error, paramiko.SSHException | EOFError):
        silent = f"something takes the connection and does not answer as SSH does ({error})"
        return HostError, f"{silent}; see 'port', and that Remote Login (SSH) is on"
    return HostError, f"{error}; see that Remote Login (SSH) is on"


def _not_forwarded(way: Route, error: paramiko.ChannelException) -> tuple[type[HostError], str]:
    jump = way.via.name if way.via else "the host before"
    if error.code == 1:
        words = f"{jump!r} lets nobody jump through it; there: AllowTcpForwarding yes"
        return HostRefusedError, words
    return HostError, f"{jump!r} does not reach it ({error.text}); see that it is on"


def _numbers(error: Exception) -> set[int | None]:
    """Return the system's error numbers, of every address that was tried."""
    tried = getattr(error, "errors", {})
    return {getattr(one, "errno", None) for one in (error, *tried.values())}
