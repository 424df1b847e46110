"""Quality of caches, drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence

import altair as alt
import pandas as pd

from dashboard.analysis import figures
from dashboard.analysis.naming import title
from dashboard.analysis.quality import Needle, Score
from dashboard.charts.marks import Chart
from dashboard.charts.palette import COLOURS, MOST, SHAPES
from worker.metrics import METRICS

SMALLEST_KL = 1e-6  # nats: below it two fp16 runs differ as much


def heat_map(rows: Sequence[Needle]) -> Chart:
    """Draw depth over context; the share found stands in each field, so colour is not needed."""
    frame = pd.DataFrame(
        [
            {
                "context": figures.context(row.context),
                "depth": f"{row.depth:.0%}",
                "found": row.found,
                "asked": row.asked,
            }
            for row in rows
        ]
    )
    depths = [f"{depth:.0%}" for depth in sorted({row.depth for row in rows})]
    contexts = [figures.context(context) for context in sorted({row.context for row in rows})]
    base = alt.Chart(frame).encode(
        x=alt.X("context:O", title="context (tokens)", sort=contexts, axis=alt.Axis(labelAngle=0)),
        y=alt.Y("depth:N", title="depth of the fact", sort=depths),
        tooltip=[
            alt.Tooltip("context:O"),
            alt.Tooltip("depth:N"),
            alt.Tooltip("found:Q", format=".0%"),
            alt.Tooltip("asked:Q"),
        ],
    )
    colour = alt.Color(
        "found:Q",
        scale=alt.Scale(domain=[0, 1], scheme="cividis"),
        legend=alt.Legend(title="found", format=".0%", orient="bottom"),
    )
    ink = alt.condition("datum.found < 0.6", alt.value("white"), alt.value("black"))
    return alt.layer(
        base.mark_rect(stroke="gray", strokeWidth=0.5).encode(color=colour),
        base.mark_text(fontSize=12).encode(text=alt.Text("found:Q", format=".0%"), color=ink),
    ).properties(height=170 + 32 * len(depths))


def by_cache(rows: Sequence[Score], metric: str) -> Chart:
    """Draw a score for each cache; divergences span decades and get a logarithmic axis."""
    shown = title(metric, METRICS[metric].unit)
    logarithmic = metric == "kl_divergence"
    lowest = SMALLEST_KL if logarithmic else -math.inf
    frame = pd.DataFrame(
        [
            {"cache": row.cache, "context": row.context, "value": max(row.value, lowest)}
            for row in rows
        ]
    )
    axis = alt.Scale(type="log") if logarithmic else alt.Scale(zero=False, padding=12)
    chart: alt.Chart = (
        alt.Chart(frame)
        .mark_point(filled=True, size=110, opacity=1, color=COLOURS[0])
        .encode(
            x=alt.X(
                "value:Q",
                title=shown,
                scale=axis,
                axis=alt.Axis(labelOverlap="greedy", labelFlush=24),
            ),
            y=alt.Y("cache:N", title=None, axis=alt.Axis(labelLimit=170)),
            shape=_by_context(list(dict.fromkeys(row.context for row in rows))),
            tooltip=[
                alt.Tooltip("cache:N"),
                alt.Tooltip("context:N"),
                alt.Tooltip("value:Q", title=shown, format=".4~g"),
            ],
        )
        .properties(height=140 + 30 * len({row.cache for row in rows}))
    )
    return chart


def _by_context(contexts: Sequence[str]) -> alt.Shape:
    return alt.Shape(
        "context:N",
        scale=alt.Scale(domain=contexts, range=[SHAPES[i % MOST] for i in range(len(contexts))]),
        legend=alt.Legend(orient="bottom", title="context (tokens)"),
    )
