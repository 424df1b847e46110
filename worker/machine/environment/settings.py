"""How a Mac is set up for the farm: asked by ``farm hosts check`` only, as it changes rarely."""

from __future__ import annotations

import re

from worker.machine.environment.source import Command, Facts, Source, UnreadableError


def parse_filevault(output: str) -> Facts:
    return one_of(output, r"FileVault is (On|Off)\.", "filevault", "On")


def parse_firewall(output: str) -> Facts:
    return one_of(output, r"Firewall is (enabled|disabled)\.", "firewall", "enabled")


def parse_spotlight(output: str) -> Facts:
    return one_of(output, r"\tIndexing (enabled|disabled)\.", "spotlight", "enabled")


def parse_backup(output: str) -> Facts:
    return one_of(output, r"    Running = (1|0);", "time_machine", "1")


def one_of(output: str, pattern: str, name: str, yes: str) -> Facts:
    """Read the one line that says yes or no."""
    answers = set(re.findall(rf"^{pattern}", output, re.MULTILINE))
    if len(answers) != 1:
        raise UnreadableError("not one answer")
    return {name: answers.pop() == yes}


def parse_capabilities(output: str) -> Facts:
    """Read ``pmset -g cap``: High Power is told by its own key, never by a table of models."""
    if not re.match(r"Capabilities for (AC|Battery|UPS) Power:\n", output):
        raise UnreadableError("no capabilities")
    return {"high_power_capable": " highpowermode" in output.splitlines()}


def parse_thermal_warning(output: str) -> Facts:
    """Read ``pmset -g therm``, which says this even under full load."""
    if "Note: No thermal warning level has been recorded" not in output:
        raise UnreadableError("another text than the usual one")
    return {"thermal_warning": "none recorded"}


def parse_pressure(output: str) -> Facts:
    """Read ``memory_pressure``: free memory in bytes."""
    page = re.search(r"with a page size of (\d{1,9})\)", output)
    free = re.search(r"Pages free: (\d{1,15})\b", output)
    if page is None or free is None:
        raise UnreadableError("no free pages of a known size")
    return {"memory_free": int(page[1]) * int(free[1])}


SOURCES = (
    Source(Command(("fdesetup", "status")), parse_filevault, ("filevault",)),
    Source(
        Command(("/usr/libexec/ApplicationFirewall/socketfilterfw", "--getglobalstate")),
        parse_firewall,
        ("firewall",),
    ),
    Source(Command(("mdutil", "-s", "/")), parse_spotlight, ("spotlight",)),
    Source(Command(("tmutil", "status")), parse_backup, ("time_machine",)),
    Source(Command(("pmset", "-g", "cap")), parse_capabilities, ("high_power_capable",)),
    Source(Command(("pmset", "-g", "therm")), parse_thermal_warning, ("thermal_warning",)),
    Source(Command(("memory_pressure",)), parse_pressure, ("memory_free",)),
)
