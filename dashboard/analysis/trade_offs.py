"""Speed, memory and quality of each cache against fp16, and what they are worth together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dashboard.analysis import figures, naming
from db.queries import Figure
from worker import choice
from worker.choice import Divergence
from worker.metrics import METRICS

BASELINE = "fp16"
SPEEDS = ("generation_tps", "prompt_tps")
OTHERS = (
    "kv_bytes",
    "kl_divergence",
    "top1_agreement",
    "needle_accuracy",
    "needle_agreement",
    "perplexity",
)
# What a cache may lose and still be shipped.
SLOWEST, HIGHEST_PERPLEXITY = 0.95, 1.01


@dataclass(frozen=True)
class TradeOff:
    """A cache at one context: speed and memory as shares of fp16's, quality as it is.

    ``spread`` is half the range that the trials of both allow the speed; ``needles`` are the facts
    found as a share of what fp16 finds, ``perplexity`` that of fp16 times this; ``elsewhere`` names
    the figures that were measured at another context, and which. ``divergence`` has the bounds of
    ``kl_divergence``, where that and the memory are of this very context.
    """

    name: str
    context: int
    speed: float
    memory: float | None
    kl_divergence: float | None
    top1_agreement: float | None
    elsewhere: tuple[str, ...] = ()
    spread: float = 0.0
    needles: float | None = None
    perplexity: float | None = None
    record: int | None = None
    divergence: Divergence | None = None


Key = tuple[str, str, int]
Table = dict[Key, dict[str, Figure]]


Divergences = Mapping[int, Divergence]


def divergences(scores: Iterable[tuple[int, dict[str, Any], float]]) -> dict[int, Divergence]:
    """Return the bounds of divergences by record, of (record, labels, value) of their steps."""
    steps: dict[int, list[float]] = {}
    for record, _, value in scores:
        steps.setdefault(record, []).append(value)
    return {record: choice.divergence(values) for record, values in steps.items()}


def trade_offs(
    rows: Iterable[Figure], speed: str, bounds: Divergences | None = None
) -> list[TradeOff]:
    """Join what one device measured of each cache at one build; ``speed`` names the speed's metric.

    A ratio of speeds to fp16's is taken within one run, the newest that has both. Memory and
    quality are often measured at fewer contexts: then the nearest one stands in. ``bounds`` are
    those of divergences, by record.
    """
    rows = list(rows)
    table, known = _table(rows), _on_all_texts(rows, bounds or {})
    found = [
        _join(table, cache, context, pair, known)
        for metric, cache, context in sorted(table)
        if metric == speed and (pair := _beside(table, speed, cache, context))
    ]
    return sorted(found, key=lambda row: (row.name != BASELINE, row.name, row.context))


def _table(rows: Iterable[Figure]) -> Table:
    """Put figures in their places by run; of several ways to measure a metric the commonest."""
    by_metric: dict[str, list[Figure]] = {}
    for row in rows:
        if row.cache and row.context:
            by_metric.setdefault(row.metric, []).append(row)
    table: Table = {}
    for metric, found in by_metric.items():
        commonest = next(iter(naming.variants(found).values()))
        for row in sorted(commonest, key=lambda row: row.started):
            table.setdefault((metric, row.cache or "", row.context or 0), {})[row.run] = row
    return table


def _beside(table: Table, metric: str, cache: str, context: int) -> tuple[Figure, Figure] | None:
    """Return a cache's figure and fp16's of the same, newest run; None where no run has both.

    What is the same each time may come from two runs.
    """
    ours, exact = (table.get((metric, name, context), {}) for name in (cache, BASELINE))
    shared = [run for run in ours if run in exact]
    if not shared and ours and exact and METRICS[metric].exact:
        return _newest(ours), _newest(exact)
    if not shared:
        return None
    newest = max(shared, key=lambda run: ours[run].started)
    return ours[newest], exact[newest]


def _newest(by_run: Mapping[str, Figure]) -> Figure:
    return max(by_run.values(), key=lambda row: row.started)


class _Others:
    """The other metrics of a cache: each at the context nearest to the one that is asked for."""

    def __init__(self, table: Table, cache: str, context: int) -> None:
        self._table, self._cache, self._context = table, cache, context
        self.elsewhere: list[str] = []  # which of them were measured at another context

    def ratio(self, metric: str) -> float | None:
        """Return a metric over fp16's, where both were measured."""
        for place in self._nearest(metric):
            pair = _beside(self._table, metric, self._cache, place)
            if pair and pair[1].value:
                self._note(metric, place)
                return pair[0].value / pair[1].value
        return None

    def alone(self, metric: str) -> float | None:
        """Return a metric that is measured against fp16 as it is."""
        for place in self._nearest(metric)[:1]:
            self._note(metric, place)
            return _newest(self._table[metric, self._cache, place]).value
        return None

    def _nearest(self, metric: str) -> list[int]:
        contexts = {
            place for name, cache, place in self._table if (name, cache) == (metric, self._cache)
        }
        return sorted(contexts, key=lambda place: (abs(place - self._context), place))

    def _note(self, metric: str, place: int) -> None:
        if place != self._context:
            self.elsewhere.append(f"{naming.metric(metric)} at {figures.context(place)}")


def _join(
    table: Table,
    cache: str,
    context: int,
    pair: tuple[Figure, Figure],
    bounds: Mapping[tuple[str, int], Divergence],
) -> TradeOff:
    exact, others = cache == BASELINE, _Others(table, cache, context)
    share = pair[0].value / pair[1].value
    small = _beside(table, "kv_bytes", cache, context)
    return TradeOff(
        name=cache,
        context=context,
        speed=share,
        memory=1.0 if exact else others.ratio("kv_bytes"),
        kl_divergence=0.0 if exact else others.alone("kl_divergence"),
        top1_agreement=1.0 if exact else others.alone("top1_agreement"),
        spread=0.0 if exact else share * (_half_range(pair[0]) + _half_range(pair[1])),
        needles=1.0 if exact else others.ratio("needle_accuracy"),
        perplexity=1.0 if exact else others.ratio("perplexity"),
        elsewhere=tuple(others.elsewhere),
        record=pair[0].record,
        divergence=bounds.get((cache, context)) if small else None,
    )


def _on_all_texts(rows: Sequence[Figure], bounds: Divergences) -> dict[tuple[str, int], Divergence]:
    """Return what each cache diverges by at each context, on the text that it is worst on.

    Of several ways to measure, which texts are not, the commonest counts, and of each text the
    newest figure.
    """
    ways: dict[tuple[str, ...], list[Figure]] = {}
    for row in sorted(rows, key=lambda row: row.started):
        if row.metric == "kl_divergence" and row.record in bounds:
            way = tuple(one for one in row.parameters if not one.startswith("text="))
            ways.setdefault(way, []).append(row)
    newest = {
        (row.cache or "", row.context or 0, row.parameters): bounds[row.record]
        for row in max(ways.values(), key=len, default=[])
    }
    found: dict[tuple[str, int], list[Divergence]] = {}
    for (cache, context, _), kl in newest.items():
        found.setdefault((cache, context), []).append(kl)
    return {place: choice.worst(some) for place, some in found.items()}


def _half_range(row: Figure) -> float:
    """Return half the range of a figure's trials as a share of it."""
    return (row.high - row.low) / 2 / row.value if row.value else 0.0


def faults(row: TradeOff, worst_kl: float) -> tuple[str, ...]:
    """Say in what a cache's answers differ from fp16's by more than is accepted."""
    found = []
    if row.kl_divergence is not None and row.kl_divergence > worst_kl:
        found.append(f"KL divergence {row.kl_divergence:.3g}")
    if row.needles is not None and row.needles < 1:
        found.append(f"finds {row.needles:.0%} of the facts that fp16 finds")
    if row.perplexity is not None and row.perplexity > HIGHEST_PERPLEXITY:
        found.append(f"perplexity {figures.percent(row.perplexity - 1)}")
    return tuple(found)


def front(rows: Iterable[TradeOff], worst_kl: float) -> list[TradeOff]:
    """Return the caches of good quality of which no other is surely as fast and as small."""
    good = [row for row in rows if row.memory is not None and not faults(row, worst_kl)]
    return [row for row in good if not any(_beats(other, row) for other in good)]


def _beats(other: TradeOff, row: TradeOff) -> bool:
    """Tell whether another cache is better for sure: intervals of equal speed decide nothing."""
    theirs, mine = other.memory or 0.0, row.memory or 0.0
    faster = other.speed - other.spread > row.speed + row.spread
    return theirs <= mine and (faster or (theirs < mine and other.speed >= row.speed))


def verdict(row: TradeOff, worst_kl: float) -> str:
    """Judge speed, memory and quality jointly: a gain that costs quality is no gain."""
    if row.name == BASELINE:
        return "baseline"
    if faults(row, worst_kl):
        return "worse: quality"
    if row.kl_divergence is None:
        return "quality unknown"
    tolerance = METRICS["generation_tps"].tolerance
    faster, slower = row.speed > 1 + tolerance, row.speed < 1 - tolerance
    smaller = row.memory is not None and row.memory < 1
    if slower:
        return "trade: smaller but slower" if smaller else "worse: slower"
    if smaller:
        return "better: smaller and faster" if faster else "better: smaller"
    return "better: faster" if faster else "no gain"


def recommended(rows: Sequence[TradeOff], worst_kl: float) -> TradeOff | None:
    """Return the smallest cache that keeps fp16's answers and 95 % of its speed, None for none."""
    good = [
        row
        for row in rows
        if row.name != BASELINE
        and row.memory is not None
        and row.memory < 1
        and row.kl_divergence is not None
        and not faults(row, worst_kl)
        and row.speed + row.spread >= SLOWEST
    ]
    return min(good, key=lambda row: (row.memory or 0.0, -row.speed), default=None)


def smallest(rows: Sequence[TradeOff], worst_kl: float) -> TradeOff | None:
    """Return what ``farm choose`` chooses of these: the smallest within a divergence for sure."""
    known = [(row, row.memory, row.divergence) for row in rows]
    return choice.smallest(
        [(row, size, kl) for row, size, kl in known if size is not None and kl is not None],
        worst_kl,
    )


def choice_line(rows: Sequence[TradeOff], model: str, worst_kl: float) -> str:
    """Say which cache ``farm choose`` chooses of what is stored, and the command that measures."""
    command = f"farm choose {model} --context {rows[0].context} --max-kl {worst_kl:g}"
    best = smallest(rows, worst_kl)
    if best is None or best.divergence is None or best.memory is None:
        return (
            f"No cache surely stays within {worst_kl:g}: no 95% bound here is that low. "
            f"To find one: {command}"
        )
    low, high = best.divergence.low, best.divergence.high
    return (
        f"Smallest cache with a KL divergence of {worst_kl:g} at most, at whatever speed: "
        f"{naming.cache(best.name)}, {best.divergence.mean:.2g} ({low:.2g} to {high:.2g}), "
        f"{best.memory:.0%} of fp16's memory, {_share(best)} of its speed. "
        f"To look for a smaller one: {command}"
    )


def headline(rows: Sequence[TradeOff], device: str, worst_kl: float) -> str:
    """Say which cache to ship at a context on a device, and why."""
    context = figures.context(rows[0].context)
    place = f"For {context} on {naming.chip(device)}"
    best = recommended(rows, worst_kl)
    if best is not None and best.memory is not None and best.kl_divergence is not None:
        return (
            f"{place} ship {naming.cache(best.name)}: {_share(best)} of fp16's speed, "
            f"{best.memory:.0%} of its memory, same answers (KL {best.kl_divergence:.3g}). It is "
            f"the smallest that keeps {SLOWEST:.0%} of the speed and fp16's answers."
        )
    others = [row for row in rows if row.name != BASELINE]
    if not others:
        return f"{place} only fp16 was measured."
    return f"{place} keep fp16: {'; '.join(_refusal(row, worst_kl) for row in others)}."


def _share(row: TradeOff) -> str:
    low, high = 100 * (row.speed - row.spread), 100 * (row.speed + row.spread)
    return f"{figures.with_spread(100 * row.speed, low, high)}%"


def _refusal(row: TradeOff, worst_kl: float) -> str:
    name = naming.cache(row.name)
    wrong = faults(row, worst_kl)
    if wrong:
        return f"{name}: {', '.join(wrong)}"
    if row.kl_divergence is None:
        return f"{name}: quality not measured"
    if row.memory is None:
        return f"{name}: memory not measured"
    if row.memory >= 1:
        return f"{name}: saves no memory"
    return f"{name}: {_share(row)} of the speed"
