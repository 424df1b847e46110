"""Rows in, chart out: nothing here reads the database or knows Streamlit.

Encodings are objects and not strings, which Altair looks up in its whole schema: ten times slower.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

import altair as alt
import pandas as pd

from dashboard.analysis.figures import scale
from dashboard.analysis.naming import title
from dashboard.analysis.readings import Reading
from dashboard.analysis.trials import Trial
from dashboard.charts.palette import COLOURS, height, names, shapes

Chart = alt.Chart | alt.LayerChart | alt.FacetChart | alt.VConcatChart

CONTEXT_LABEL = "datum.value >= 1024 ? datum.value / 1024 + 'K' : datum.value"


def contexts(found: Sequence[int], *, labelled: bool = True) -> alt.X:
    """Return a logarithmic axis of contexts with a tick at each that was measured."""
    return alt.X(
        "context:Q",
        title="context (tokens)" if labelled else None,
        scale=alt.Scale(type="log", base=2, nice=False, padding=12),
        axis=alt.Axis(values=sorted(set(found)), labelExpr=CONTEXT_LABEL, labelOverlap="greedy"),
    )


def by_context(rows: Sequence[Reading], metric: str, order: Sequence[str]) -> Chart:
    """Draw a metric over context: a line for each device, bars for the range of its trials.

    Published figures are hollow; ``order`` gives each device its colour.
    """
    by = scale(metric, max((abs(row.value) for row in rows), default=1.0))
    frame, y_title = _frame(rows, by.factor), title(metric, by.unit)
    devices = list(frame["name"])
    base = alt.Chart(frame).encode(
        x=contexts(list(frame["context"])),
        color=names(devices, order),
        tooltip=_tooltip(y_title),
    )
    y = alt.Y("value:Q", title=y_title, scale=alt.Scale(zero=True))
    shape = shapes(devices, order)
    measured = base.transform_filter("!datum.published")
    doubtful = base.transform_filter("datum.suspicious !== 'no'")
    return alt.layer(
        measured.mark_rule(strokeWidth=2).encode(
            y=alt.Y("low:Q", title=y_title), y2=alt.Y2("high:Q")
        ),
        measured.mark_line(strokeWidth=1.5, opacity=0.7).encode(y=y),
        measured.mark_point(filled=True, size=60, opacity=1).encode(y=y, shape=shape),
        base.transform_filter("datum.published")
        .mark_point(filled=False, size=110, strokeWidth=2)
        .encode(y=y, shape=shape),
        doubtful.mark_text(text="?", dy=-14, fontSize=14, fontWeight="bold").encode(y=y),
    ).properties(height=height(devices))


def _frame(rows: Sequence[Reading], factor: float) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "name": row.name,
                "context": row.context,
                "value": row.value * factor,
                "low": row.low * factor,
                "high": row.high * factor,
                "published": row.source is not None,
                "suspicious": "; ".join(row.doubts) or "no",
            }
            for row in rows
        ]
    )


def _tooltip(y_title: str) -> list[alt.Tooltip]:
    return [
        alt.Tooltip("name:N", title=" "),
        alt.Tooltip("context:Q", title="context"),
        alt.Tooltip("value:Q", title=y_title, format=",.4~g"),
        alt.Tooltip("low:Q", title="lowest trial", format=",.4~g"),
        alt.Tooltip("high:Q", title="highest trial", format=",.4~g"),
        alt.Tooltip("suspicious:N"),
    ]


def raw_trials(trials: Sequence[Trial], metric: str) -> Chart:
    """Draw the samples of one metric in the order of their trials, and their typical value.

    The counted trials set the scale: a slow warm-up stands at its edge.
    """
    frame = pd.DataFrame([asdict(trial) for trial in trials])
    by = scale(metric, frame["value"].abs().max())
    frame["value"] *= by.factor
    frame["kind"] = frame["warmup"].map({True: "warm-up", False: "trial"})
    counted = frame.loc[~frame["warmup"], "value"]
    shown = counted if len(counted) else frame["value"]
    y_title = title(metric, by.unit)
    y = alt.Y("value:Q", title=y_title, scale=_around(float(shown.min()), float(shown.max())))
    typical = alt.Chart(pd.DataFrame([{"value": float(shown.median())}])).mark_rule(
        strokeDash=[6, 3], color=COLOURS[5]
    )
    return alt.layer(typical.encode(y=y), _trial_points(frame, y, y_title)).properties(height=300)


def _around(low: float, high: float) -> alt.Scale:
    """Return a scale that leaves half the range of these values free below and above them."""
    margin = (high - low) * 0.5 or abs(high) * 0.01 or 1.0
    return alt.Scale(domain=[low - margin, high + margin], clamp=True, nice=False, zero=False)


def _trial_points(frame: pd.DataFrame, y: alt.Y, y_title: str) -> alt.Chart:
    """Draw a point for each trial and a cross for each warm-up."""
    kinds = ["trial", "warm-up"]
    points: alt.Chart = (
        alt.Chart(frame)
        .mark_point(size=70, strokeWidth=2, filled=True, opacity=1)
        .encode(
            x=alt.X(
                "trial:Q",
                title="trial",
                scale=alt.Scale(zero=False, nice=False, padding=12),
                axis=alt.Axis(tickMinStep=1, format="d"),
            ),
            y=y,
            color=alt.Color(
                "kind:N",
                scale=alt.Scale(domain=kinds, range=[COLOURS[0], COLOURS[1]]),
                legend=alt.Legend(orient="bottom", title=None),
            ),
            shape=alt.Shape(
                "kind:N", scale=alt.Scale(domain=kinds, range=["circle", "cross"]), legend=None
            ),
            tooltip=[
                alt.Tooltip("trial:Q"),
                alt.Tooltip("value:Q", title=y_title, format=",.5~g"),
                alt.Tooltip("kind:N"),
            ],
        )
    )
    return points
