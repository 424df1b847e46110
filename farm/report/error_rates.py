"""How often the gate was wrong about builds compared with themselves, by device and metric."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from db.queries import PROMISE, GateTally
from farm.report.table import aligned


def text(rates: Sequence[GateTally]) -> str:
    """Return a table: false alarms where nothing was injected, power where something was."""
    header = ("device", "metric", "injected", "gates", "flagged", "share", "deviation")
    rows = [
        (
            rate.device,
            rate.metric,
            f"{100 * rate.injected:.1f} %",
            str(rate.trials),
            str(rate.regressed),
            f"{100 * rate.regressed / max(rate.trials, 1):.1f} %",
            f"{100 * rate.deviation:.1f} %",
        )
        for rate in rates
    ]
    return aligned(header, rows)


def advisory(rates: Iterable[GateTally], devices: set[str]) -> list[str]:
    """Return why gates on these devices are advice only; empty if they keep their promise."""
    return [
        f"advice only: on {rate.device}, {rate.regressed} of {rate.trials} gates of a build with "
        f"itself flagged {rate.metric}; at most {PROMISE:.1%} were promised"
        for rate in rates
        if rate.device in devices and rate.breaks_promise
    ]
