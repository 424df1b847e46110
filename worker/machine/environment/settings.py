"""How a Mac is set up for the farm: asked by ``farm hosts check`` only, as it changes rarely."""

from __future__ import annotations

import re

from worker.machine.environment.source import (
    RARE_DEADLINE,
    Command,
    Facts,
    Source,
    UnreadableError,
)


def rare(*argv: str) -> Command:
    """Return a command that may take seconds: nobody waits for it while a job is timed."""
    return Command(argv, deadline=RARE_DEADLINE)


def parse_filevault(output: str) -> Facts:
    return one_of(output, r"FileVault is (On|Off)\.", "filevault", "On")


def parse_firewall(output: str) -> Facts:
    """Read ``--getglobalstate``: on also where it refuses everything, which is state 2."""
    return {"firewall": _firewall_state(output) != "0"}


def parse_full_block(output: str) -> Facts:
    """Read ``--getglobalstate`` once more: state 2 refuses every connection."""
    return {"firewall_blocks_all": True} if _firewall_state(output) == "2" else {}


def parse_blocking(output: str) -> Facts:
    """Read ``--getblockall``, in the words of older and newer versions of macOS."""
    if re.search(r"^Firewall is (set to block|blocking) all non-essential", output, re.MULTILINE):
        return {"firewall_blocks_all": True}
    pattern = r"(?:firewall has block all state set to|block all) (enabled|disabled)"
    return one_of(output.lower(), pattern, "firewall_blocks_all", "enabled")


def _firewall_state(output: str) -> str:
    states = set(re.findall(r"^Firewall is [^\n]*\(State = ([012])\)\s*$", output, re.MULTILINE))
    if len(states) != 1:
        raise UnreadableError("not one state")
    return str(states.pop())


def parse_spotlight(output: str) -> Facts:
    """Read ``mdutil -s``; a server that does not run indexes nothing."""
    if re.search(r"^\s*Spotlight server is disabled\.\s*$", output, re.MULTILINE):
        return {"spotlight": False}
    return one_of(
        output, r"\tIndexing(?: and searching)? (enabled|disabled)\.", "spotlight", "enabled"
    )


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


FIREWALL = "/usr/libexec/ApplicationFirewall/socketfilterfw"
STATE = rare(FIREWALL, "--getglobalstate")
SOURCES = (
    Source(rare("fdesetup", "status"), parse_filevault, ("filevault",)),
    Source(STATE, parse_firewall, ("firewall",)),
    Source(STATE, parse_full_block, ("firewall_blocks_all",)),
    Source(rare(FIREWALL, "--getblockall"), parse_blocking, ("firewall_blocks_all",)),
    Source(rare("mdutil", "-s", "/"), parse_spotlight, ("spotlight",)),
    Source(rare("tmutil", "status"), parse_backup, ("time_machine",)),
    Source(rare("pmset", "-g", "cap"), parse_capabilities, ("high_power_capable",)),
    Source(rare("pmset", "-g", "therm"), parse_thermal_warning, ("thermal_warning",)),
    Source(rare("memory_pressure"), parse_pressure, ("memory_free",)),
)
