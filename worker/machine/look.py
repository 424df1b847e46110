"""Look at this machine before anything is measured: what would spoil figures, as JSON."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from worker.machine.disturbances import of_state, overused
from worker.machine.environment import probe
from worker.machine.limits import GPU_IDLE
from worker.machine.readings import Moment, read
from worker.machine.reasons import REASONS, Reason
from worker.record import Environment

#: Seconds over which the use of the processor is looked at.
LOOK = 0.5
#: The same where a look decides whether a long measurement begins.
LONG_LOOK = 2.0


def look(
    probe: Callable[[], Environment] = probe,
    *,
    seconds: float = LOOK,
    reading: Callable[[], Moment] = read,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[Reason, ...]:
    """Look at the processor, the facts and the GPU of this host; empty where nothing is wrong."""
    first = reading()
    sleep(seconds)
    last = reading()
    state = probe()
    reasons = [*of_state(state)]
    used = state.facts.get("gpu_utilization")
    if isinstance(used, float) and used > GPU_IDLE:
        reasons.append(Reason.of("GPU in use", share=used))
    cores = state.facts.get("logical_cores")
    reasons += overused(first, last, cores if isinstance(cores, int) else 1)
    return tuple(reasons)


if __name__ == "__main__":
    sys.stdout.write(REASONS.dump_json(look(seconds=LONG_LOOK)).decode() + "\n")
