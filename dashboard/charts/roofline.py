"""The roofline of one device; small charts beside each other compare several."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pandas as pd

from dashboard.analysis import naming
from dashboard.charts.marks import Chart, contexts
from dashboard.charts.palette import height, names, shapes
from worker.roofline import Explained


def roofline(rows: Sequence[Explained], caches: Sequence[str]) -> Chart:
    """Draw one device's speed over context: points measured, dashed lines what bandwidth allows.

    ``caches`` gives each cache its colour.
    """
    frame = pd.DataFrame([_point(row) for row in rows])
    found = list(frame["name"])
    title = naming.title("generation_tps", "tokens/s")
    order = [naming.cache(cache) for cache in caches]
    colour, marks = names(found, order), shapes(found, order)
    base = alt.Chart().encode(x=contexts(list(frame["context"])), color=colour)
    y = alt.Y("tps:Q", title=title, scale=alt.Scale(zero=False, padding=12))
    points = base.encode(y=y, shape=marks, tooltip=_tooltip())
    return alt.layer(
        base.mark_line(strokeWidth=1.5, strokeDash=[5, 3], opacity=0.8).encode(
            y=alt.Y("allowed:Q", title=title)
        ),
        base.mark_rule(strokeWidth=1.5).encode(y=alt.Y("low:Q", title=title), y2=alt.Y2("high:Q")),
        points.transform_filter("!datum.published").mark_point(filled=True, size=60, opacity=1),
        points.transform_filter("datum.published").mark_point(filled=False, size=90, strokeWidth=2),
        data=frame,
    ).properties(height=height(found) - 80)


def _point(row: Explained) -> dict[str, object]:
    speed = row.speed
    return {
        "name": naming.cache(speed.cache),
        "context": speed.context,
        "tps": speed.tps,
        "low": speed.low,
        "high": speed.high,
        "allowed": row.predicted,
        "utilization": row.utilization,
        "published": speed.published,
        "suspicious": "; ".join(row.suspicious) or "no",
    }


def _tooltip() -> list[alt.Tooltip]:
    return [
        alt.Tooltip("name:N", title="cache"),
        alt.Tooltip("context:Q"),
        alt.Tooltip("tps:Q", title="tokens/s", format=".3~g"),
        alt.Tooltip("allowed:Q", title="bandwidth allows", format=".3~g"),
        alt.Tooltip("utilization:Q", format=".0%"),
        alt.Tooltip("suspicious:N"),
    ]
