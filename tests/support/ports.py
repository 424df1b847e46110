"""Ports for servers that do not choose one themselves."""

import random
import socket
from contextlib import suppress

#: Below those of outgoing connections, one of which could take a port before its server does.
LISTENING = range(20000, 32768)


def free_port():
    """Return a port of loopback that nothing listens at."""
    while True:
        port = random.SystemRandom().choice(LISTENING)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
