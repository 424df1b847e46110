"""The sentences of records of version 1, read into kinds of reason: for reading alone."""

from __future__ import annotations

import re
from typing import Any

_NUMBER = r"[-+]?[\d.]+"
_WHEN = r",? (?P<when>before|during|after) the job"

#: Kind and pattern; a name that ends in ``_`` is a number.
_PATTERNS = {
    "busy for a second": rf"other processes used (?P<cores_>{_NUMBER}) cores for a second",
    "busy": rf"other processes used (?P<cores_>{_NUMBER}) cores",
    "background work": rf"(?P<activity>Spotlight|Time Machine) used (?P<cores_>{_NUMBER}) cores",
    "GPU in use": r"(?:another process used the GPU|the GPU is used) to (?P<percent_>\d+)%",
    "stolen": rf"the hypervisor took (?P<cores_>{_NUMBER}) cores",
    "on battery": r"on (?P<source>battery|ups) power",
    "low power": r"in low power mode",
    "throttled": r"throttled to priority (?P<priority_>\d+)",
    "virtual machine": r"in a virtual machine",
    "hot": r"thermal level (?P<level>\w+)",
    "GPU clock fell": r"the GPU clock fell from (?P<best_>\d+) to (?P<clock_>\d+) MHz",
    "slow canary": rf"canary (?P<kernel>\w+) took (?P<times_>{_NUMBER}) times the host's best",
    "changed": r"(?P<fact>\w+) changed from (?P<before>.*?) to (?P<after>.*)",
    "clock jumped": rf"the clock jumped by (?P<seconds_>{_NUMBER}) s, or the machine slept",
    "stood still": rf"the process stood still for (?P<seconds_>{_NUMBER}) s",
    "memory pressure": r"memory pressure (?P<level>\w+)",
    "little memory": rf"only (?P<mebibytes_>{_NUMBER}) MiB of memory were left",
    "waited for memory": rf"waited for memory for (?P<seconds_>{_NUMBER}) s",
    "at its memory limit": r"at its memory limit (?P<times_>\d+) times",
    "swapped": rf"swap grew by (?P<mebibytes_>{_NUMBER}) MiB",
}
_READ = {kind: re.compile(rf"(?:{text})(?:{_WHEN})?") for kind, text in _PATTERNS.items()}


def understood(sentence: str) -> dict[str, Any]:
    """Return ``kind``, ``figures`` and ``when`` of a sentence; any other text is ``other``."""
    for kind, pattern in _READ.items():
        if found := pattern.fullmatch(sentence):
            groups = found.groupdict()
            when = groups.pop("when") or ""
            figures = dict(_figure(*item) for item in groups.items())
            return {"kind": kind, "figures": figures, "when": when}
    return {"kind": "other", "figures": {"text": sentence}}


def _figure(name: str, text: str) -> tuple[str, str | float]:
    if name == "percent_":
        return "share", int(text) / 100
    if not name.endswith("_"):
        return name, text
    return name[:-1], float(text) if "." in text else int(text)
