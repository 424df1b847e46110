"""How far the farm itself can be trusted: error rates of its gate, with their bounds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dashboard.analysis import naming
from db.queries import PROMISE, GateTally

Z = 1.96  # 95 %


@dataclass(frozen=True)
class Rate:
    """A share that was counted, with its 95 % bounds."""

    hits: int
    of: int
    low: float
    high: float

    def __str__(self) -> str:
        if not self.of:
            return "not measured"
        return f"{self.hits / self.of:.1%} ({self.low:.1%} to {self.high:.1%}), {self.of} gates"


def rate(hits: int, of: int) -> Rate:
    """Return a share with Wilson's bounds (1927), which hold for few trials and for none hit."""
    if not of:
        return Rate(0, 0, 0.0, 1.0)
    share = hits / of
    scale = 1 + Z**2 / of
    middle = (share + Z**2 / (2 * of)) / scale
    half = Z * math.sqrt(share * (1 - share) / of + Z**2 / (4 * of**2)) / scale
    return Rate(hits, of, max(0.0, middle - half), min(1.0, middle + half))


def headline(alike: Sequence[GateTally], slowed: Sequence[GateTally]) -> str:
    """Say how often the gate was wrong here, and whether it keeps its promise."""
    if not alike and not slowed:
        return (
            "How often the gate is wrong here was never measured. It promises false alarms in "
            f"{PROMISE:.1%} of gates at most; how it does on generated noise stands in "
            "farm/bench/README.md."
        )
    said = []
    if alike:
        false = rate(sum(t.regressed for t in alike), sum(t.trials for t in alike))
        said.append(f"False alarms on identical builds: {false}")
        broken = [f"{naming.metric(t.metric)} on {t.device}" for t in alike if t.breaks_promise]
        if broken:
            told = f"more than the promised {PROMISE:.1%} of {', '.join(broken)}"
            said.append(f"{told}: take verdicts as advice")
    if slowed:
        seen = rate(sum(t.regressed for t in slowed), sum(t.trials for t in slowed))
        said.append(f"slowdowns that were put in and found: {seen}")
    return "; ".join(said) + "."
