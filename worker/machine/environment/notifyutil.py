"""notifyutil: the thermal pressure level.

Above nominal is positive evidence of throttling; nominal is weak evidence of none: GPU clocks fell
to a third at nominal, and the command prints 0 even for keys that do not exist.
"""

from __future__ import annotations

import re

from worker.machine.environment.source import Command, Facts, Source, UnreadableError

KEY = "com.apple.system.thermalpressurelevel"
# OSThermalNotification.h
LEVELS = {"0": "nominal", "1": "moderate", "2": "heavy", "3": "trapping", "4": "sleeping"}


def parse(output: str) -> Facts:
    answer = re.fullmatch(rf"{re.escape(KEY)} (\d+)\s*", output)
    if answer is None or answer[1] not in LEVELS:
        raise UnreadableError("not a known thermal pressure level")
    return {"thermal_level": LEVELS[answer[1]]}


SOURCES = (Source(Command(("notifyutil", "-g", KEY)), parse, ("thermal_level",)),)
