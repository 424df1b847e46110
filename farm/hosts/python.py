"""Find a host's Python: the one that is named, or the best of those that people install."""

from __future__ import annotations

import math
import sys
import time
from dataclasses import dataclass

from farm.errors import HostRefusedError
from farm.hosts.answers import QUICK, answer
from farm.hosts.said import telling
from farm.hosts.ssh.connection import Connection

DEFAULT = "python3"
NEWER = ("python3.11", "python3.12", "python3.13", "python3.14")

#: Looks at each candidate in each folder of the PATH, and lets the first one that is new enough
#: tell of the host. The first argument is the program that tells.
_FIND = r"""
tell=$1; shift
try() {
    [ -x "$1" ] && [ ! -d "$1" ] && said=$("$1" -c "$tell" "$1") && printf '%s\n' "$said" && exit 0
}
for name in "$@"; do
    case $name in
    */*) try "$name"; [ -x "$name" ] || echo "$name: no such program" >&2; continue ;;
    esac
    IFS=:
    for folder in $PATH; do
        # Without its command line tools a Mac has a stub there, which opens a window.
        if [ "$folder" = /usr/bin ] && [ "$(uname)" = Darwin ] && ! xcode-select -p >/dev/null 2>&1
        then echo "/usr/bin/$name: needs Apple's command line tools" >&2; continue; fi
        try "$folder/$name"
    done
    unset IFS
done
[ $# -eq 1 ] || { found=$(uv python find '>=3.11' 2>/dev/null) && try "$found"; }
[ -n "$(command -v "$1")" ] || echo "$1: not found in $PATH" >&2
exit 1
"""
#: Runs under any Python, an old one too.
_TELL = """
import json, os, sys
own, version = sys.argv[1], ".".join(str(part) for part in sys.version_info[:3])
if sys.version_info < (3, 11):
    sys.exit("%s is Python %s, too old" % (own, version))
import shutil, subprocess, time
if sys.platform == "darwin":
    ask = ["sysctl", "-n", "kern.bootsessionuuid"]
    machine = subprocess.run(ask, capture_output=True, text=True).stdout.strip()
else:
    machine = open("/proc/sys/kernel/random/boot_id").read().strip()
base = getattr(sys, "_base_executable", None) or sys.executable
print(json.dumps({"python": own, "version": version, "base": os.path.realpath(base),
                  "machine": machine, "time": time.time(),
                  "free": shutil.disk_usage(os.path.expanduser("~")).free}))
"""


@dataclass(frozen=True)
class Python:
    """A host's Python, and what it told: ``free`` in bytes, ``skew`` of its clock in seconds.

    ``base`` is the program that environments are made of, ``machine`` names the machine as long as
    it runs.
    """

    path: str
    version: str
    base: str
    machine: str
    free: float
    skew: float


def find(connection: Connection) -> Python:
    """Return the Python to use on a host; raises HostRefusedError if none is new enough."""
    named = connection.host.python
    candidates = _candidates() if named == DEFAULT else [named]
    done = connection.run(["sh", "-c", _FIND, "sh", _TELL, *candidates], QUICK)
    if done.status != 0:
        why = telling(done.errors) or f"status {done.status}"
        raise HostRefusedError(
            f"host {connection.name!r}: {named}: {why}; install Python 3.11 or newer there, or "
            "name one by 'python' in the inventory"
        )
    told = answer(connection.name, named, done)
    try:
        return Python(
            path=str(told["python"]),
            version=str(told["version"]),
            base=str(told["base"]),
            machine=str(told["machine"]),
            free=_finite(told["free"]),
            skew=skew(_finite(told["time"]), done.began, time.time()),
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        words = f"{named}: does not tell of its host ({error})"
        raise HostRefusedError(
            f"host {connection.name!r}: {words}; name another 'python' in the inventory"
        ) from error


def _finite(value: float) -> float:
    """Return a number that a host told; raises ValueError for one that is none."""
    if not math.isfinite(float(value)):
        raise ValueError(f"{value} is no number")
    return float(value)


def _candidates() -> list[str]:
    """Return names of Python, the minor version of the coordinator's first."""
    own = f"python3.{sys.version_info.minor}"
    return [DEFAULT, own, *(name for name in NEWER if name != own)]


def skew(told: float, before: float, after: float) -> float:
    """Return by how many seconds a clock is wrong at least, asked between two times of ours.

    An answer between the two is right as far as anybody can tell, however long it took.
    """
    return told - min(max(told, before), after)
