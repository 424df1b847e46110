"""Wait a share of each decode step where the wait can't hide behind the device's work."""

from __future__ import annotations

import json
import random
import time
from collections import deque
from pathlib import Path
from statistics import median
from typing import Any

import mlx.core as mx

SPIN = 3e-4  # seconds
_DOCUMENT = json.loads((Path(__file__).parent / "injection.json").read_text())


class _Pace:
    """Measures the steps between waits and waits its share of the typical one."""

    def __init__(self) -> None:
        hours = (time.time() - _DOCUMENT["begun"]) / 3600
        noise = abs(random.SystemRandom().gauss(0, _DOCUMENT["noise"]))
        self.share = _DOCUMENT["share"] + _DOCUMENT["drift"] * hours + noise
        self.steps: deque[float] = deque(maxlen=15)
        self.ended: float | None = None

    def wait(self, keys: mx.array) -> None:
        mx.eval(keys)
        now = time.perf_counter()
        if self.ended is not None:
            self.steps.append(now - self.ended)
        until = now + self.share * (median(self.steps) if self.steps else 0.0)
        # Sleeping is too coarse for the end of a wait, spinning unfair to the machine before it.
        time.sleep(max(until - now - SPIN, 0.0))
        while time.perf_counter() < until:
            pass
        self.ended = time.perf_counter()


def pace(cache: Any) -> None:
    """Make ``cache`` wait whenever it takes a single token."""
    kind = type(cache)
    if not hasattr(kind, "unpaced"):
        kind.unpaced = kind.update_and_fetch
        kind.update_and_fetch = _update_and_fetch
    cache.pace = _Pace()


def _update_and_fetch(self: Any, keys: mx.array, values: mx.array) -> Any:
    found = getattr(self, "pace", None)
    if found is not None and keys.shape[2] == 1:
        found.wait(keys)
    return type(self).unpaced(self, keys, values)
