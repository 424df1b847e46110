"""Figures side by side, measured here or published, as pages and charts take them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from db.queries import Figure, Published
from worker.metrics import METRICS


@dataclass(frozen=True)
class Reading:
    """One figure of one device and cache; ``low`` to ``high`` is the range of its trials.

    ``source`` says who published it, None for what was measured; ``doubts`` why it is suspicious;
    ``host`` is the machine where several are one device, else empty.
    """

    device: str
    cache: str | None
    context: int | None
    value: float
    low: float
    high: float
    source: str | None = None
    record: int | None = None
    key: str | None = None
    doubts: tuple[str, ...] = ()
    host: str = ""

    @property
    def name(self) -> str:
        if self.source:
            return f"{self.device} (published: {self.source})"
        return f"{self.device}, {self.host}" if self.host else self.device


def measured(
    rows: Iterable[Figure], suspicions: Mapping[int, tuple[str, ...]] = {}
) -> list[Reading]:
    """Return measured figures as readings; two machines that are one device are told apart."""
    rows = list(rows)
    hosts = Counter(device for device, _ in {(row.device, row.host) for row in rows})
    return [
        Reading(
            row.device,
            row.cache,
            row.context,
            row.value,
            row.low,
            row.high,
            record=row.record,
            key=row.comparison_key,
            doubts=suspicions.get(row.record, ()),
            host=row.host if hosts[row.device] > 1 else "",
        )
        for row in rows
    ]


def published(rows: Iterable[Published]) -> list[Reading]:
    """Return published figures as readings; ratios and bounds are none."""
    return [
        Reading(row.device, row.cache, row.context, row.value, row.value, row.value, row.source)
        for row in rows
        if row.kind == "figure"
    ]


def of_best(row: Reading, rows: Sequence[Reading], metric: str) -> float | None:
    """Return how near a reading is to the best of its cache and context among ``rows``: 1 for that.

    None for one that is not among them: what was published is not ranked with what was measured.
    """
    rivals = [
        other.value for other in rows if (other.cache, other.context) == (row.cache, row.context)
    ]
    if row not in rows:
        return None
    best = min(rivals) if lower_is_better(metric) else max(rivals)
    if not best or not row.value:
        return None
    return best / row.value if lower_is_better(metric) else row.value / best


def lower_is_better(metric: str) -> bool:
    return metric in METRICS and METRICS[metric].better == "lower"


@dataclass(frozen=True)
class Pair:
    """The better and the worse of two devices at one context, and by how much."""

    better: Reading
    worse: Reading
    ratio: float
    low: float
    high: float


def furthest(rows: Sequence[Reading], metric: str, context: int) -> Pair | None:
    """Compare the best device with the worst at the context nearest to one; None for one device."""
    contexts = {row.context for row in rows if row.context is not None}
    shared = [place for place in contexts if len({r.name for r in rows if r.context == place}) > 1]
    if not shared:
        return None
    place = min(shared, key=lambda other: (abs(other - context), other))
    here = sorted(
        (row for row in rows if row.context == place and row.value > 0),
        key=lambda row: row.value,
        reverse=not lower_is_better(metric),
    )
    return pair(here[0], here[-1], metric) if len(here) > 1 else None


def pair(better: Reading, worse: Reading, metric: str) -> Pair:
    """Return how many times as good one reading is; the bounds are those of the trials."""
    up, down = (worse, better) if lower_is_better(metric) else (better, worse)
    return Pair(
        better,
        worse,
        up.value / down.value,
        up.low / down.high if down.high else 0.0,
        up.high / down.low if down.low else float("inf"),
    )
