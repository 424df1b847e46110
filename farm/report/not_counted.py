"""What of a run does not count: a line for each kind of reason, with what to do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from worker.machine.reasons import Reason
from worker.metrics import METRICS
from worker.record import Record


@dataclass(frozen=True)
class NotCounted:
    """A kind of reason: how many of the ``jobs`` jobs it spoiled, and which metrics.

    ``example`` is the first such reason in words, ``remedy`` what to do.
    """

    kind: str
    spoiled: int
    jobs: int
    metrics: tuple[str, ...]
    example: str
    remedy: str


def not_counted(records: Sequence[Record]) -> list[NotCounted]:
    """Return what spoiled figures of some records, the most frequent kind first."""
    by_kind: dict[str, list[tuple[Record, Reason]]] = {}
    for record in records:
        reasons = {one.kind: one for one in record.invalid if _spoiled(record, one)}
        for kind, reason in reasons.items():
            by_kind.setdefault(kind, []).append((record, reason))
    kinds = [_summed_up(kind, some, len(records)) for kind, some in by_kind.items()]
    return sorted(kinds, key=lambda one: -one.spoiled)


def line(one: NotCounted) -> str:
    """Write a kind of reason for people."""
    return (
        f"not counted: {', '.join(one.metrics)} of {one.spoiled} of {one.jobs} jobs, {one.kind} "
        f"(first: {one.example}). To do: {one.remedy}."
    )


def _spoiled(record: Record, reason: Reason) -> list[str]:
    """Return the metrics of a good record that a reason spoils."""
    if record.failure:
        return []
    return [
        one for one in record.spoiled if one not in METRICS or METRICS[one].kind in reason.spoils
    ]


def _summed_up(kind: str, some: Sequence[tuple[Record, Reason]], jobs: int) -> NotCounted:
    metrics = dict.fromkeys(metric for pair in some for metric in _spoiled(*pair))
    first = some[0][1]
    return NotCounted(kind, len(some), jobs, tuple(metrics), first.sentence, first.remedy)
