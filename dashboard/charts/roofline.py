"""The roofline as a chart."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import pandas as pd

from dashboard.charts.marks import Chart, height, names, shapes
from worker.roofline import Explained

MARGIN = 0.02


def roofline(rows: Sequence[Explained], bandwidths: Sequence[tuple[str, float]]) -> Chart:
    """Draw speed over bytes a token, beside what each device's bandwidth (bytes/s) allows."""
    allowed = dict(bandwidths)
    points = pd.DataFrame(
        [
            {
                "name": row.speed.device,
                "cache": row.speed.cache,
                "context": row.speed.context,
                "size": row.bytes / 1e9,
                "tps": row.speed.tps,
                "utilization": row.utilization,
                "published": row.speed.published,
                "suspicious": "; ".join(row.suspicious) or "no",
            }
            for row in rows
        ]
    )
    first, last = points["size"].min() * (1 - MARGIN), points["size"].max() * (1 + MARGIN)
    found = list(dict.fromkeys(points["name"]))
    lines = pd.DataFrame(
        [
            {"name": name, "size": size, "tps": allowed[name] / 1e9 / size}
            for name in found
            for size in (first, (first + last) / 2, last)
        ]
    )
    x = alt.X(
        "size:Q",
        title="read for each token (GB)",
        scale=alt.Scale(domain=[first, last], nice=False),
    )
    y = alt.Y("tps:Q", title="decode (tokens/s)", scale=alt.Scale(zero=True))
    tooltip = [
        alt.Tooltip("name:N", title=" "),
        alt.Tooltip("cache:N"),
        alt.Tooltip("context:Q"),
        alt.Tooltip("tps:Q", title="tokens/s", format=".3~g"),
        alt.Tooltip("utilization:Q", format=".0%"),
        alt.Tooltip("suspicious:N"),
    ]
    base = alt.Chart().encode(x=x, y=y, color=names(found), shape=shapes(found))
    return alt.layer(
        alt.Chart(lines).mark_line(strokeWidth=1.5).encode(x=x, y=y, color=names(found)),
        base.transform_filter("!datum.published")
        .mark_point(filled=True, size=60, opacity=1)
        .encode(tooltip=tooltip),
        base.transform_filter("datum.published")
        .mark_point(filled=False, size=90, strokeWidth=2)
        .encode(tooltip=tooltip),
        data=points,
    ).properties(height=height(found))
