"""pmset: power mode, power source, what keeps the Mac awake."""

from __future__ import annotations

import re

from worker.machine.environment.sensors import written_time
from worker.machine.environment.source import Command, Facts, Source, UnreadableError

# Macs with High Power print powermode, the others lowpowermode.
MODES = {
    ("powermode", "0"): "automatic",
    ("powermode", "1"): "low",
    ("powermode", "2"): "high",
    ("lowpowermode", "0"): "automatic",
    ("lowpowermode", "1"): "low",
}
MODE = re.compile(r"^\s+(powermode|lowpowermode)\s+(\S+)(?:\s+\(.*\))?\s*$", re.MULTILINE)
BLOCK = re.compile(r"^(AC|Battery|UPS) Power:\s*$", re.MULTILINE)
SUPPLY = re.compile(r"^Now drawing from '(AC|Battery|UPS) Power'\s*$", re.MULTILINE)
CHARGE = re.compile(r"^\s*-InternalBattery-\d+.*\t(\d{1,3})%; *([A-Za-z ]+);", re.MULTILINE)
ASSERTION = re.compile(r"^   (\w+)\s+(\d+)\s*$", re.MULTILINE)
ASSERTIONS = {
    "PreventUserIdleSystemSleep": "idle_sleep_prevented",
    "PreventUserIdleDisplaySleep": "display_sleep_prevented",
    "PreventSystemSleep": "system_sleep_prevented",
}


def parse_custom(output: str) -> Facts:
    """Read ``pmset -g custom``: the power mode of each supply's block."""
    starts = list(BLOCK.finditer(output))
    if not starts:
        raise UnreadableError("no block of a power supply")
    ends = [start.start() for start in starts[1:]] + [len(output)]
    facts: Facts = {}
    for start, end in zip(starts, ends, strict=True):
        mode = block_mode(output[start.end() : end])
        if mode is not None:
            facts[f"power_mode_on_{start[1].lower()}"] = mode
    return facts


def block_mode(block: str) -> str | None:
    """Read one block's mode; None without a known key and value, or if two keys disagree."""
    modes = {MODES.get((key, value)) for key, value in MODE.findall(block)}
    return modes.pop() if len(modes) == 1 else None


def parse_battery(output: str) -> Facts:
    """Read ``pmset -g batt``; desktops print no battery line."""
    supplies = SUPPLY.findall(output)
    if len(supplies) != 1:
        raise UnreadableError("not one power supply")
    facts: Facts = {"power_source": supplies[0].lower()}
    charge = CHARGE.search(output)
    if charge and int(charge[1]) <= 100:  # noqa: PLR2004  per cent
        facts["battery_charge"] = int(charge[1])
        facts["battery_state"] = charge[2].strip()
    return facts


def parse_settings(output: str) -> Facts:
    """Read ``pmset -g``: whether sleep is disabled, and who prevents it."""
    if "Currently in use:" not in output:
        raise UnreadableError("no settings in use")
    facts: Facts = {}
    disabled = re.search(r"^ SleepDisabled\s+([01])\s*$", output, re.MULTILINE)
    if disabled:
        facts["sleep_disabled"] = disabled[1] == "1"
    sleep = re.search(r"^ sleep\s+\d+(?: \(sleep prevented by (.*)\))?\s*$", output, re.MULTILINE)
    if sleep:
        facts["sleep_prevented_by"] = sleep[1] or "nothing"
    return facts


def assertions_time(output: str) -> float | None:
    """Return the time in the first line of ``pmset -g assertions``, in seconds since 1970."""
    return written_time(output.partition("\n")[0].strip(), "%Y-%m-%d %H:%M:%S %z")


def parse_assertions(output: str) -> Facts:
    """Read the system-wide part of ``pmset -g assertions``."""
    if "Assertion status system-wide:" not in output:
        raise UnreadableError("no assertion status")
    facts: Facts = {}
    for name, count in ASSERTION.findall(output):
        if name in ASSERTIONS:
            facts[ASSERTIONS[name]] = count != "0"
    return facts


SUPPLY_SOURCES = (
    Source(
        Command(("pmset", "-g", "batt")),
        parse_battery,
        ("power_source", "battery_charge", "battery_state"),
    ),
)
SOURCES = (
    *SUPPLY_SOURCES,
    Source(
        Command(("pmset", "-g", "custom")),
        parse_custom,
        ("power_mode_on_ac", "power_mode_on_battery", "power_mode_on_ups"),
    ),
    Source(Command(("pmset", "-g")), parse_settings, ("sleep_disabled", "sleep_prevented_by")),
    Source(
        Command(("pmset", "-g", "assertions")),
        parse_assertions,
        tuple(ASSERTIONS.values()),
        time=assertions_time,
    ),
)
