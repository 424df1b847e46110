"""How often the gate was wrong about builds compared with themselves, by device and metric."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from scipy.stats import binomtest

from db.verdicts import VerdictRow
from farm.report.table import aligned

PROMISE = 0.005  # false alarms on identical code


@dataclass(frozen=True)
class ErrorRate:
    """Of ``trials`` gates of a build with itself slowed by ``injected``, ``flagged`` regressed."""

    device: str
    metric: str
    injected: float
    trials: int
    flagged: int
    deviation: float

    @property
    def broken(self) -> bool:
        """Tell whether the false alarms are more than the promise allows, 95 % sure."""
        if self.injected > 0:
            return False
        test = binomtest(self.flagged, self.trials, PROMISE, alternative="greater")
        return bool(test.pvalue < 0.05)  # noqa: PLR2004  the usual level


def error_rates(rows: Iterable[VerdictRow]) -> list[ErrorRate]:
    """Count the stored verdicts of gates that tested themselves."""
    groups: dict[tuple[str, str, float], list[VerdictRow]] = {}
    for row in rows:
        if row.injected is not None and row.outcome != "invalid":
            groups.setdefault((row.device, row.metric, row.injected), []).append(row)
    return [
        ErrorRate(
            *key,
            len(some),
            sum(row.outcome == "regress" for row in some),
            max((row.deviation or 0.0 for row in some), default=0.0),
        )
        for key, some in sorted(groups.items())
    ]


def text(rates: Sequence[ErrorRate]) -> str:
    """Return a table: false alarms where nothing was injected, power where something was."""
    header = ("device", "metric", "injected", "gates", "flagged", "share", "deviation")
    rows = [
        (
            rate.device,
            rate.metric,
            f"{100 * rate.injected:.1f} %",
            str(rate.trials),
            str(rate.flagged),
            f"{100 * rate.flagged / rate.trials:.1f} %",
            f"{100 * rate.deviation:.1f} %",
        )
        for rate in rates
    ]
    return aligned(header, rows)


def advisory(rates: Iterable[ErrorRate], devices: set[str]) -> list[str]:
    """Return why gates on these devices are advice only; empty if they keep their promise."""
    return [
        f"advice only: on {rate.device}, {rate.flagged} of {rate.trials} gates of a build with "
        f"itself flagged {rate.metric}; at most {PROMISE:.1%} were promised"
        for rate in rates
        if rate.device in devices and rate.broken
    ]
