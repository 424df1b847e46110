"""Where a server listens: what makes that impossible is said in one way."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

from .models import LoadError

_LAST_PORT = 65535


@contextmanager
def listening_at(host: str, port: int) -> Iterator[None]:
    """Let something listen there; raises LoadError where it cannot."""
    # The system's look-up of addresses takes a number modulo 2^16.
    if port > _LAST_PORT:
        raise LoadError(f"--port {port}: cannot listen there: ports end at {_LAST_PORT}")
    try:
        yield
    except OSError as error:
        raise LoadError(f"--host {host} --port {port}: cannot listen there: {error}") from error


def require_free(host: str, port: int) -> None:
    """Raise LoadError where nothing can listen now."""
    with listening_at(host, port):
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        socket.create_server(address, family=family).close()
