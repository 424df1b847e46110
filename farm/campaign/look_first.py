"""Before a long measurement: say what on this machine would spoil figures, and wait a while."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Collection

from farm.plan.inventory import Inventory
from worker.machine.reasons import REASONS, Reason

#: Seconds to wait for a disturbance to end, and between two looks.
PATIENCE = 30.0
PAUSE = 3.0

Look = Callable[[], tuple[Reason, ...]]
Tell = Callable[[str], None]


def here() -> tuple[Reason, ...]:
    """Look at this machine, in a process of its own; empty where nothing is wrong."""
    command = [sys.executable, "-m", "worker.machine.look"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return REASONS.validate_json(done.stdout)


def look_first(
    known: Inventory,
    targets: Collection[str],
    tell: Tell,
    *,
    patience: float = PATIENCE,
    look: Look = here,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[Reason, ...]:
    """Tell what would spoil figures on this machine, if it is among the targets, and wait for it.

    Waits at most ``patience`` seconds for what passes by itself; returns what is left. Other
    machines tell with their first record.
    """
    names = here_among(known, targets)
    if not names:
        return ()
    reasons = look()
    if reasons:
        tell(
            f"{names[0]}: {_told(reasons)}. Until that ends no speed counts; bytes and quality do."
        )
    if not reasons or patience <= 0 or not all(reason.passes for reason in reasons):
        return reasons
    tell(f"{names[0]}: waiting for up to {patience:.0f} s; with --anyway it goes on at once")
    return _waited(names[0], reasons, tell, patience, look, sleep)


def _waited(
    name: str,
    reasons: tuple[Reason, ...],
    tell: Tell,
    patience: float,
    look: Look,
    sleep: Callable[[float], None],
) -> tuple[Reason, ...]:
    for _ in range(int(patience / PAUSE)):
        sleep(PAUSE)
        reasons = look()
        if not reasons:
            tell(f"{name}: ready")
            return reasons
    tell(f"{name}: still so: {_told(reasons)}; going on")
    return reasons


def here_among(known: Inventory, targets: Collection[str]) -> list[str]:
    """Return those of some hosts and device classes that are, or may be, this machine."""
    mine = [(name, host.device_class) for name, host in known.hosts.items() if host.local]
    return [target for target in targets if any(target in names for names in mine)]


def _told(reasons: tuple[Reason, ...]) -> str:
    return "; ".join(f"{reason.sentence} ({reason.remedy})" for reason in reasons)
