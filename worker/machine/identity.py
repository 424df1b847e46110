"""What tells whose machine this is, so that it can be taken out of what is sent to others.

``python -m worker.machine.identity`` prints it as one JSON document; nothing keeps that.
"""

from __future__ import annotations

import getpass
import json
import os
import platform
import pwd
import socket
import sys
from pathlib import Path

from worker.machine.environment.source import Command

NAMES = ("ComputerName", "LocalHostName", "HostName")


def users() -> list[str]:
    """Return the names of the user of this process: short, full, and the home folder's."""
    found = [getpass.getuser(), Path.home().name]
    try:
        full = pwd.getpwuid(os.getuid()).pw_gecos.partition(",")[0]
    except KeyError:
        full = ""
    return [*found, full]


def hosts() -> list[str]:
    """Return the names of this machine, with and without a domain."""
    whole = [socket.gethostname(), platform.node()]
    if sys.platform == "darwin":
        whole += [Command(("scutil", "--get", name)).read().text.strip() for name in NAMES]
    return [*whole, *(name.partition(".")[0] for name in whole)]


def names() -> dict[str, list[str]]:
    """Return all names by what they name, each once."""
    return {
        "user": sorted({name for name in users() if name}),
        "host": sorted({name for name in hosts() if name}),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(names()) + "\n")
