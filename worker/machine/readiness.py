"""Wait before a cell until the host has cooled down and nobody else uses it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from worker.machine import canary
from worker.machine.canary import History, Readings
from worker.machine.look import look
from worker.machine.readings import Moment, read
from worker.machine.reasons import Reason
from worker.record import Environment

LOG = logging.getLogger(__name__)

#: The longest wait by platform.system(), in seconds. Sweeps without a pause showed drops of 40 to
#: 77 % on laptops; a Linux machine has no such reason to wait, and is seldom alone.
PATIENCE = {"Darwin": 120.0}
#: A wait takes at most this share of a job's deadline.
SHARE = 0.25
PAUSE = 5.0

Look = Callable[[], list[Reason]]


def patience(system: str, deadline: float) -> float:
    """Return how long a job with this deadline may wait on this system, in seconds."""
    return min(PATIENCE.get(system, 0.0), SHARE * deadline)


def wait(
    ready: Look,
    limit: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> list[Reason]:
    """Look again and again until there is no reason to wait, at most ``limit`` seconds.

    Progress is logged. Returns the reasons that are left, empty if the host is
    ready; with no patience it does not even look.
    """
    began = clock()
    reasons: list[Reason] = []
    while (waited := clock() - began) < limit:
        reasons = ready()
        if not reasons:
            break
        told = "; ".join(reason.sentence for reason in reasons)
        LOG.warning("not ready after %.0f s: %s", waited, told)
        sleep(min(PAUSE, max(0.0, limit - (clock() - began))))
    return reasons


def looker(
    probe: Callable[[], Environment],
    history: History,
    *,
    measure: Callable[[], Readings] = canary.measure,
    reading: Callable[[], Moment] = read,
    sleep: Callable[[float], None] = time.sleep,
) -> Look:
    """Return a look at this host: its facts, its GPU, its processor and its canary."""

    def ready() -> list[Reason]:
        reasons = look(probe, reading=reading, sleep=sleep)
        passing = [reason for reason in reasons if reason.passes]
        return [*passing, *canary.outside(measure(), history.readings())]

    return ready
