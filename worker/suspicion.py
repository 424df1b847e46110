"""Figures that are too good, or run the wrong way: kept, and flagged for somebody to look at.

Unlike a disturbed record, a suspicious one has no known reason; its own figures say that
something is off, mostly a cold first cell or a machine that speeds up.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from worker.record import Record, Sample

SPEED = "generation_tps"
RISE = 0.03
#: A repeat may be that much faster before the first is called cold.
COLD = 0.03
SHARES = ("bandwidth_utilization", "nominal_fraction")


def of_samples(samples: Sequence[Sample], details: Mapping[str, Any]) -> tuple[str, ...]:
    """Look at one record: a share of bandwidth above 1, a cold first trial, no compression."""
    reasons = []
    match details.get("cache"):
        case {"compressed_tokens": 0}:
            reasons.append(
                "compression never became active: the context is too short for this cache"
            )
    for metric in SHARES:
        most = max(_values(samples, metric), default=0.0)
        if most > 1:
            reasons.append(f"{metric} is {most:.0%}: the bytes or the nominal figure are wrong")
    first, *others = _values(samples, SPEED) or [0.0]
    if others and first < median(others) * (1 - COLD):
        reasons.append(f"the first trial ran at {first / median(others):.0%} of the others: cold?")
    return tuple(reasons)


def of_run(records: Iterable[Record]) -> dict[str, tuple[str, ...]]:
    """Look across the records of a run; return reasons by job id.

    Decode must not get faster with context by more than 3 %, nor a repetition faster than the
    first process of its cell. Speeds that do not count have their reason already and are left out.
    """
    reasons: dict[str, list[str]] = defaultdict(list)
    contexts: dict[object, list[Record]] = defaultdict(list)
    repeats: dict[object, list[Record]] = defaultdict(list)
    for record in records:
        if _values(record.samples, SPEED) and record.counts(SPEED):
            contexts[_all_but_context(record)].append(record)
            repeats[(record.place, record.job.build.hash, record.job.cell.id)].append(record)
    for group in contexts.values():
        for record, rise in _rises(sorted(group, key=_context)):
            reasons[record.job.id].append(f"decode is {rise:.0%} faster than with less context")
    for group in repeats.values():
        first, *others = sorted(group, key=lambda record: record.started)
        share = _speed(first) / median(map(_speed, others)) if others else 1.0
        if share < 1 - COLD:
            reasons[first.job.id].append(f"ran at {share:.0%} of its repeats: cold?")
    return {job: tuple(texts) for job, texts in reasons.items()}


def _rises(group: Sequence[Record]) -> Iterator[tuple[Record, float]]:
    """Yield each record that is faster than one of less context, and by how much."""
    for record in group:
        less = [_speed(other) for other in group if _context(other) < _context(record)]
        rise = _speed(record) / min(less) - 1 if less else 0.0
        if rise > RISE:
            yield record, rise


def _all_but_context(record: Record) -> tuple[object, ...]:
    job = record.job
    params = {name: value for name, value in job.cell.params.items() if name != "context"}
    cell = job.cell.model_copy(update={"params": params})
    return record.place, job.build.hash, cell.id


def _values(samples: Iterable[Sample], metric: str) -> list[float]:
    return [s.value for s in samples if s.metric == metric and not s.warmup]


def _speed(record: Record) -> float:
    return median(_values(record.samples, SPEED))


def _context(record: Record) -> int:
    context = record.job.cell.params.get("context")
    return context if isinstance(context, int) else 0
