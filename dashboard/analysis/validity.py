"""Which figures do not count, in words."""

from __future__ import annotations

from collections.abc import Iterable

from dashboard.analysis import naming
from worker.machine.reasons import Reason, counts
from worker.record import Record


def told(reasons: Iterable[Reason]) -> str:
    """Write reasons in one line; empty for none."""
    return "; ".join(reason.sentence for reason in reasons)


def not_counting(record: Record) -> list[str]:
    """Say of each reason which figures do not count for it, and what to do."""
    lines = []
    for reason in record.invalid:
        spoiled = [metric for metric in record.spoiled if not counts(metric, [reason])]
        if spoiled:
            sentence = f"{', '.join(map(naming.metric, spoiled))}: {reason.sentence}"
            lines.append(f"Does not count: {sentence}. To do: {reason.remedy}.")
    return lines
