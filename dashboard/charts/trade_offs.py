"""Speed over memory, drawn."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pandas as pd

from dashboard.analysis import naming
from dashboard.analysis.trade_offs import TradeOff, front, verdict
from dashboard.charts.marks import Chart
from dashboard.charts.palette import height, names, shapes

Y_TITLE = "speed (share of fp16)"


def chart(rows: Sequence[TradeOff], worst_kl: float, order: Sequence[str] = ()) -> Chart:
    """Draw speed over memory at one context; the Pareto front is a line, bad quality is crossed."""
    known = [row for row in rows if row.memory is not None]
    best = {row.name for row in front(known, worst_kl)}
    frame = pd.DataFrame([_point(row, worst_kl) | {"front": row.name in best} for row in known])
    found, order = list(frame["name"]), [naming.cache(cache) for cache in order]
    x = alt.X(
        "memory:Q",
        title="KV memory (share of fp16)",
        axis=alt.Axis(format=".1~%"),
        scale=alt.Scale(domain=[0, 1.08 * max(1.0, frame["memory"].max())]),
    )
    y = alt.Y(
        "speed:Q",
        title=Y_TITLE,
        axis=alt.Axis(format=".1~%"),
        scale=alt.Scale(zero=False, padding=16),
    )
    base = alt.Chart(frame).encode(x=x, y=y)
    points = base.encode(color=names(found, order), shape=shapes(found, order), tooltip=_tooltip())
    return alt.layer(
        base.transform_filter("datum.front").mark_line(
            strokeDash=[4, 4], color="gray", interpolate="step-after"
        ),
        base.mark_rule(strokeWidth=1.5).encode(
            y=alt.Y("low:Q", title=Y_TITLE), y2=alt.Y2("high:Q"), color=names(found, order)
        ),
        points.transform_filter("!datum.broken").mark_point(filled=True, size=140, opacity=1),
        points.transform_filter("datum.broken").mark_point(filled=False, size=220, strokeWidth=2),
        base.transform_filter("datum.broken")
        .mark_text(text="✕", fontSize=13, fontWeight="bold")
        .encode(color=names(found, order)),
    ).properties(height=height(found))


def _point(row: TradeOff, worst_kl: float) -> dict[str, object]:
    said = verdict(row, worst_kl)
    return {
        "name": naming.cache(row.name),
        "speed": row.speed,
        "low": row.speed - row.spread,
        "high": row.speed + row.spread,
        "memory": row.memory,
        "kl_divergence": row.kl_divergence,
        "top1_agreement": row.top1_agreement,
        "verdict": said,
        "broken": said == "worse: quality",
    }


def _tooltip() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("name:N", title=" "),
        alt.Tooltip("speed:Q", format=".1%"),
        alt.Tooltip("memory:Q", format=".1%"),
        alt.Tooltip("kl_divergence:Q", title="KL divergence (nats)", format=".2~g"),
        alt.Tooltip("top1_agreement:Q", title="top-1 agreement", format=".1%"),
        alt.Tooltip("verdict:N"),
    ]
