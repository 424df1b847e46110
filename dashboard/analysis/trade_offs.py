"""Speed, memory and quality of each cache against fp16, and what they are worth together."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

import altair as alt
import pandas as pd

from dashboard.charts.marks import Chart, height, names, shapes
from worker.metrics import METRICS

BASELINE = "fp16"


class Figure(Protocol):
    """A typical value of one metric of one cache at one context, on one device and model."""

    @property
    def cache(self) -> str | None: ...
    @property
    def context(self) -> int | None: ...
    @property
    def metric(self) -> str: ...
    @property
    def value(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


@dataclass(frozen=True)
class TradeOff:
    """A cache at one context: speed and memory as shares of fp16's, quality as it is.

    ``spread`` is half the range that the trials of both allow the speed; ``elsewhere`` names the
    figures that were measured at another context, and which.
    """

    name: str
    context: int
    speed: float
    memory: float | None
    kl_divergence: float | None
    top1_agreement: float | None
    elsewhere: tuple[str, ...] = ()
    spread: float = 0.0


Table = dict[tuple[str, str], dict[int, Figure]]


def trade_offs(figures: Iterable[Figure], speed: str) -> list[TradeOff]:
    """Join what was measured of each cache; ``speed`` is the metric that counts as speed.

    Memory and quality are often measured at fewer contexts: then the nearest one stands in.
    """
    table: Table = {}
    for row in figures:
        if row.cache and row.context:
            table.setdefault((row.cache, row.metric), {})[row.context] = row
    return [
        _join(table, cache, context, speed)
        for cache, metric in table
        if metric == speed
        for context in sorted(table[cache, metric])
        if context in table.get((BASELINE, speed), {})
    ]


def front(rows: Iterable[TradeOff], worst_kl: float) -> list[TradeOff]:
    """Return the caches of good quality of which no other is both as fast and as small."""
    good = [
        row for row in rows if row.memory is not None and (row.kl_divergence or 0.0) <= worst_kl
    ]
    return [row for row in good if not any(_beats(other, row) for other in good)]


def _beats(other: TradeOff, row: TradeOff) -> bool:
    theirs, mine = (other.speed, -(other.memory or 0)), (row.speed, -(row.memory or 0))
    return theirs != mine and theirs[0] >= mine[0] and theirs[1] >= mine[1]


def verdict(row: TradeOff, worst_kl: float) -> str:
    """Judge speed, memory and quality jointly: a gain that costs quality is no gain."""
    if row.name == BASELINE:
        return "baseline"
    if row.kl_divergence is None:
        return "quality unknown"
    if row.kl_divergence > worst_kl:
        return "worse: quality"
    tolerance = METRICS["generation_tps"].tolerance
    faster, slower = row.speed > 1 + tolerance, row.speed < 1 - tolerance
    smaller = row.memory is not None and row.memory < 1
    if slower:
        return "trade: smaller but slower" if smaller else "worse: slower"
    if smaller:
        return "better: smaller and faster" if faster else "better: smaller"
    return "better: faster" if faster else "no gain"


def chart(rows: Sequence[TradeOff], worst_kl: float) -> Chart:
    """Draw speed over memory at one context; the Pareto front is a line, bad quality is crossed."""
    known = [row for row in rows if row.memory is not None]
    best = {row.name for row in front(known, worst_kl)}
    frame = pd.DataFrame(
        [
            asdict(row) | {"verdict": verdict(row, worst_kl), "front": row.name in best}
            for row in known
        ]
    )
    frame["broken"] = frame["verdict"] == "worse: quality"
    found = list(frame["name"])
    x = alt.X(
        "memory:Q",
        title="KV memory (share of fp16)",
        axis=alt.Axis(format=".1~%"),
        scale=alt.Scale(domain=[0, 1.08 * max(1.0, frame["memory"].max())]),
    )
    y = alt.Y(
        "speed:Q",
        title="speed (share of fp16)",
        axis=alt.Axis(format=".1~%"),
        scale=alt.Scale(zero=False, padding=16),
    )
    base = alt.Chart(frame).encode(x=x, y=y)
    tooltip = [
        alt.Tooltip("name:N", title=" "),
        alt.Tooltip("speed:Q", format=".1%"),
        alt.Tooltip("memory:Q", format=".1%"),
        alt.Tooltip("kl_divergence:Q", title="KL divergence (nats)", format=".2~g"),
        alt.Tooltip("top1_agreement:Q", title="top-1 agreement", format=".1%"),
        alt.Tooltip("verdict:N"),
    ]
    points = base.encode(color=names(found), shape=shapes(found), tooltip=tooltip)
    return alt.layer(
        base.transform_filter("datum.front").mark_line(
            strokeDash=[4, 4], color="gray", interpolate="step-after"
        ),
        points.transform_filter("!datum.broken").mark_point(filled=True, size=140, opacity=1),
        points.transform_filter("datum.broken").mark_point(filled=False, size=220, strokeWidth=2),
        base.transform_filter("datum.broken")
        .mark_text(text="✕", fontSize=13, fontWeight="bold")
        .encode(color=names(found)),
    ).properties(height=height(found))


def _join(table: Table, cache: str, context: int, speed: str) -> TradeOff:
    elsewhere: list[str] = []

    def near(metric: str, *caches: str) -> list[float] | None:
        """Return one metric of these caches at the nearest context that they all have."""
        found = [table.get((name, metric), {}) for name in caches]
        common = set.intersection(*(set(by_context) for by_context in found))
        if not common:
            return None
        place = min(common, key=lambda other: (abs(other - context), other))
        if place != context:
            elsewhere.append(f"{metric} at {place}")
        return [by_context[place].value for by_context in found]

    memory = near("kv_bytes", cache, BASELINE)
    kl = near("kl_divergence", cache)
    top1 = near("top1_agreement", cache)
    exact = cache == BASELINE
    ours, theirs = table[cache, speed][context], table[BASELINE, speed][context]
    share = ours.value / theirs.value
    return TradeOff(
        name=cache,
        context=context,
        speed=share,
        memory=memory[0] / memory[1] if memory and memory[1] else None,
        kl_divergence=0.0 if exact else kl[0] if kl else None,
        top1_agreement=1.0 if exact else top1[0] if top1 else None,
        elsewhere=tuple(elsewhere),
        spread=0.0 if exact else share * (_half_range(ours) + _half_range(theirs)),
    )


def _half_range(row: Figure) -> float:
    """Return half the range of a figure's trials as a share of it."""
    return (row.high - row.low) / 2 / row.value
