"""sw_vers: the version and build of macOS."""

from __future__ import annotations

import re

from worker.machine.environment.source import Command, Facts, Source, UnreadableError

LINE = re.compile(r"^(ProductName|ProductVersion|BuildVersion):\s+(\S.*?)\s*$", re.MULTILINE)
NAMES = {"ProductName": "os", "ProductVersion": "os_version", "BuildVersion": "os_build"}


def parse(output: str) -> Facts:
    lines = LINE.findall(output)
    if len(lines) != len({key for key, _ in lines}) or not lines:
        raise UnreadableError("not one product")
    return {NAMES[key]: value for key, value in lines}


SOURCES = (Source(Command(("sw_vers",)), parse, tuple(NAMES.values())),)
