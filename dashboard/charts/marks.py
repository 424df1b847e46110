"""Rows in, chart out: nothing here reads the database or knows Streamlit.

Encodings are objects and not strings, which Altair looks up in its whole schema: ten times slower.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import altair as alt
import pandas as pd

from dashboard.analysis.figures import scale, title

# Each has a contrast of at least 3 to 1 on white and on Streamlit's dark background, and shapes
# repeat what colours say.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#C4709F", "#B8860B", "#7F7F7F")
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")
MOST = len(COLOURS)

Chart = alt.Chart | alt.LayerChart | alt.FacetChart

CONTEXT_LABEL = "datum.value >= 1024 ? datum.value / 1024 + 'K' : datum.value"


@dataclass(frozen=True)
class Mark:
    """One figure on a chart by context: ``name`` tells lines apart; published ones are hollow."""

    name: str
    context: int
    value: float
    low: float
    high: float
    published: bool = False


def names(found: Iterable[str]) -> alt.Color:
    """Return the encoding of what tells lines apart, its legend below the chart."""
    domain = list(dict.fromkeys(found))
    legend = alt.Legend(orient="bottom", columns=1, labelLimit=0, title=None, symbolOpacity=1)
    colours = [COLOURS[i % MOST] for i in range(len(domain))]
    return alt.Color("name:N", scale=alt.Scale(domain=domain, range=colours), legend=legend)


def shapes(found: Iterable[str]) -> alt.Shape:
    """Return shapes that repeat what the colours of ``names`` say."""
    domain = list(dict.fromkeys(found))
    marks = [SHAPES[i % MOST] for i in range(len(domain))]
    return alt.Shape("name:N", scale=alt.Scale(domain=domain, range=marks), legend=None)


def height(found: Iterable[str]) -> int:
    """Return a height in pixels that leaves room for a legend with a line for each name."""
    return 380 + 20 * len(set(found))


def by_context(marks: Sequence[Mark], metric: str) -> Chart:
    """Draw a metric over context: a line for each name, bars for the range of its trials."""
    by = scale(metric, max((abs(mark.value) for mark in marks), default=1.0))
    frame = pd.DataFrame([asdict(mark) for mark in marks])
    frame[["value", "low", "high"]] *= by.factor
    found = list(frame["name"])
    y_title = title(metric, by.unit)
    x = alt.X(
        "context:Q",
        title="context (tokens)",
        scale=alt.Scale(type="log", base=2, nice=False, padding=12),
        axis=alt.Axis(
            values=sorted(set(frame["context"])), labelExpr=CONTEXT_LABEL, labelOverlap="greedy"
        ),
    )
    base = alt.Chart(frame).encode(
        x=x,
        color=names(found),
        tooltip=[
            alt.Tooltip("name:N", title=" "),
            alt.Tooltip("context:Q", title="context"),
            alt.Tooltip("value:Q", title=y_title, format=",.4~g"),
            alt.Tooltip("low:Q", title="lowest trial", format=",.4~g"),
            alt.Tooltip("high:Q", title="highest trial", format=",.4~g"),
        ],
    )
    y = alt.Y("value:Q", title=y_title, scale=alt.Scale(zero=True))
    measured = base.transform_filter("!datum.published")
    return alt.layer(
        measured.mark_rule(strokeWidth=2).encode(
            y=alt.Y("low:Q", title=y_title), y2=alt.Y2("high:Q")
        ),
        measured.mark_line(strokeWidth=1.5, opacity=0.7).encode(y=y),
        measured.mark_point(filled=True, size=60, opacity=1).encode(y=y, shape=shapes(found)),
        base.transform_filter("datum.published")
        .mark_point(filled=False, size=110, strokeWidth=2)
        .encode(y=y, shape=shapes(found)),
    ).properties(height=height(found))


@dataclass(frozen=True)
class Trial:
    """One raw sample."""

    metric: str
    trial: int
    value: float
    warmup: bool


def raw_trials(trials: Sequence[Trial], metric: str) -> Chart:
    """Draw the samples of one metric in the order of their trials; warm-ups are hollow."""
    frame = pd.DataFrame([asdict(trial) for trial in trials])
    by = scale(metric, frame["value"].abs().max())
    frame["value"] *= by.factor
    frame["kind"] = frame["warmup"].map({True: "warm-up", False: "trial"})
    kinds = ["trial", "warm-up"]
    y_title = title(metric, by.unit)
    chart: alt.Chart = (
        alt.Chart(frame)
        .mark_point(size=70, strokeWidth=2)
        .encode(
            x=alt.X("trial:Q", title="trial", axis=alt.Axis(tickMinStep=1, format="d")),
            y=alt.Y("value:Q", title=y_title, scale=alt.Scale(zero=False)),
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
        .properties(height=300)
    )
    return chart
