"""Quality of caches: divergence from fp16, and needles found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Any

from dashboard.analysis import figures, naming
from db.queries import Figure

SAME = 0.02  # nats: beyond it answers differ noticeably


@dataclass(frozen=True)
class Needle:
    """The share of facts found at one depth (0 start, 1 end) of one context."""

    cache: str
    context: int
    depth: float
    found: float
    asked: int


def needles(
    scores: Iterable[tuple[int, Mapping[str, Any], float]], cells: Mapping[int, tuple[str, int]]
) -> list[Needle]:
    """Pool needle scores by cache, context and depth.

    ``scores`` are (record, labels, 1 or 0); ``cells`` gives the cache and context of each record.
    """
    pooled: dict[tuple[str, int, float], list[float]] = {}
    for record, labels, value in scores:
        depth = labels.get("depth")
        if isinstance(depth, int | float):
            pooled.setdefault((*cells[record], float(depth)), []).append(value)
    return [Needle(*place, mean(found), len(found)) for place, found in sorted(pooled.items())]


@dataclass(frozen=True)
class Score:
    """One quality metric of one cache at one context."""

    cache: str
    context: str
    value: float


def headline(rows: Sequence[Figure]) -> str:
    """Say which caches answer as fp16 does, and which do not."""
    divergences: dict[str, float] = {}
    places: dict[str, None] = {}
    for row in sorted(rows, key=lambda row: row.context or 0):
        if row.metric == "kl_divergence" and row.cache:
            name = naming.cache(row.cache)
            if row.context:
                places[figures.context(row.context)] = None
            divergences[name] = max(divergences.get(name, 0.0), row.value)
    if not divergences:
        return "No divergence from fp16 counts here yet."
    ordered = sorted(divergences.items(), key=lambda item: item[1])
    same = [f"{name} (KL {value:.2g})" for name, value in ordered if value <= SAME]
    other = [f"{name} (KL {value:.2g})" for name, value in ordered if value > SAME]
    answers = f"fp16's answers (KL {SAME} at most)"
    said = []
    if same:
        said.append(f"{', '.join(same)} {'gives' if len(same) == 1 else 'give'} {answers}")
    if other:
        does = "does not" if len(other) == 1 else "do not"
        said.append(f"{', '.join(other)} {does}" + ("" if same else f" give {answers}"))
    where = f" at {', '.join(places)}" if places else ""
    return f"On {naming.chip(rows[0].device)}{where} {'; '.join(said)}."
