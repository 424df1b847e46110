"""launchd: a service whose GPU work is not throttled.

Background services decoded at an eighth of the speed; Standard, the default, is throttled too.
Only Interactive is not.
"""

from __future__ import annotations

import plistlib
import re
from pathlib import PurePosixPath

from worker.machine.environment.source import Command, Facts, Source, UnreadableError

LABEL = "org.turbofarm.worker"
NIGHTLY = "org.turbofarm.nightly"
PATH = "/opt/homebrew/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
SPAWN = re.compile(r"^\tspawn type = (\w+) \(\d+\)$", re.MULTILINE)


def service(command: list[str], user: str, logs: PurePosixPath) -> bytes:
    """Return the property list of a LaunchDaemon that keeps ``command`` running as ``user``.

    Put it into /Library/LaunchDaemons: a daemon needs nobody to be logged in.
    """
    return plistlib.dumps(
        {
            "Label": LABEL,
            "ProgramArguments": command,
            "UserName": user,
            "ProcessType": "Interactive",
            "RunAtLoad": True,
            "KeepAlive": True,
            "StandardOutPath": str(logs / "worker.out"),
            "StandardErrorPath": str(logs / "worker.err"),
        }
    )


def timetable(
    command: list[str], user: str, logs: PurePosixPath, folder: str, hour: int, minute: int
) -> bytes:
    """Return the property list of a LaunchDaemon that runs ``command`` once a day in ``folder``.

    A Mac that sleeps at that time runs it when it wakes.
    """
    return plistlib.dumps(
        {
            "Label": NIGHTLY,
            "ProgramArguments": command,
            "UserName": user,
            "WorkingDirectory": folder,
            "EnvironmentVariables": {"PATH": PATH},
            "ProcessType": "Interactive",
            "StartCalendarInterval": {"Hour": hour, "Minute": minute},
            "StandardOutPath": str(logs / "nightly.out"),
            "StandardErrorPath": str(logs / "nightly.err"),
        }
    )


def parse(output: str) -> Facts:
    """Read ``launchctl print``."""
    types = set(SPAWN.findall(output))
    if len(types) != 1:
        raise UnreadableError("not one spawn type")
    return {"spawn_type": types.pop()}


SOURCES = (Source(Command(("launchctl", "print", f"system/{LABEL}")), parse, ("spawn_type",)),)
