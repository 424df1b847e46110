"""A series over commits, drawn; a click on a point opens its record."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict

import altair as alt
import pandas as pd

from dashboard.analysis.figures import scale
from dashboard.analysis.naming import title
from dashboard.analysis.timeline import OUTCOMES, Event, Place, Slot
from dashboard.charts.marks import Chart
from dashboard.charts.palette import (
    ALARM,
    DOUBT,
    ELSEWHERE,
    NEUTRAL,
    colour,
    names,
    places,
    shapes,
)

RULES = {
    # Dashes, width and colour of the line at a commit.
    "regression": ([6, 3], 2, ALARM),
    "change point": ([2, 2], 1, DOUBT),
    "environment": ([1, 3], 2, ELSEWHERE),
}
LEGEND = (
    "Small dots: raw samples. Large dots: the typical sample of a commit (a click opens its "
    "record); crosses do not count. Shaded: where a point lies by its noise if nothing changed. "
    "Lines across: dashed a regression, thin a suspected change point, dotted another "
    "environment. Triangles at the top: what a gate said, pointing down for a regression."
)
FREE = alt.Scale(zero=False, padding=14)  # a series need not show zero
Raw = tuple[int, float, str, str]


def chart(
    shown: Sequence[Place],
    raw: Sequence[Raw],
    events: Sequence[Event],
    axis: Sequence[Slot],
    metric: str,
    place: int = 0,
) -> Chart:
    """Draw a series: raw samples (position, value, commit, link), typical values, band, events.

    ``place`` is the device's place among all, for its colour.
    """
    by = scale(metric, max((abs(one.value) for one in shown), default=1.0))
    y_title = title(metric, by.unit)
    x = _axis(axis)
    y = alt.Y("value:Q", title=y_title, axis=alt.Axis(format=",.6~g"), scale=FREE)
    base = alt.Chart().encode(x=x)
    valid = base.transform_filter("datum.valid")
    own = colour(place)
    layers = [
        valid.mark_area(opacity=0.15, color=own, interpolate="step").encode(
            y=alt.Y("floor:Q", title=y_title),
            y2=alt.Y2("ceiling:Q"),
            detail=alt.Detail("segment:N"),
        ),
        *_rules(events, x),
        _dots(raw, by.factor, y_title).encode(x=x, y=y),
        valid.mark_line(color=own, strokeWidth=1.5).encode(y=y, detail=alt.Detail("segment:N")),
        valid.mark_point(filled=True, size=36, opacity=1, color=own, cursor="pointer").encode(
            y=y, tooltip=_tooltip(y_title), href=alt.Href("link:N")
        ),
        base.transform_filter("!datum.valid")
        .mark_point(shape="cross", size=70, angle=45, filled=True, opacity=1, color=NEUTRAL)
        .encode(y=y, tooltip=_tooltip(y_title), href=alt.Href("link:N")),
    ]
    return alt.layer(*layers, data=_frame(shown, by.factor)).properties(height=340)


def _dots(raw: Sequence[Raw], factor: float, y_title: str) -> alt.Chart:
    """Draw the raw samples, wherever they are put."""
    frame = pd.DataFrame(raw, columns=["position", "value", "commit", "link"])
    frame["value"] *= factor
    dots: alt.Chart = (
        alt.Chart(frame)
        .mark_point(filled=True, size=10, opacity=0.35, color=NEUTRAL)
        .encode(tooltip=[alt.Tooltip("commit:N"), _value(y_title)])
    )
    return dots


def together(
    shown: Sequence[Place], events: Sequence[Event], axis: Sequence[Slot], order: Sequence[str]
) -> Chart:
    """Draw several devices in one chart, each as a share of its first value."""
    frame = _frame(shown, 1.0)
    found = list(frame["name"])
    x = _axis(axis)
    y = alt.Y(
        "value:Q",
        title=f"share of {axis[0].commit[:7]}" if axis else "share",
        axis=alt.Axis(format=".1~%"),
        scale=FREE,
    )
    base = alt.Chart().encode(x=x, y=y, color=names(found, order))
    placed = places(found, order)
    assert placed  # noqa: S101  callers have something to draw
    return alt.layer(
        *_rules(events, x),
        base.mark_line(strokeWidth=1.5).encode(detail=[alt.Detail("segment:N")]),
        base.mark_point(filled=True, size=36, opacity=1, cursor="pointer").encode(
            shape=shapes(found, order),
            tooltip=[alt.Tooltip("name:N", title=" "), *_tooltip("share")],
            href=alt.Href("link:N"),
        ),
        data=frame,
    ).properties(height=380 + 20 * len(placed))


def _frame(shown: Sequence[Place], factor: float) -> pd.DataFrame:
    frame = pd.DataFrame([asdict(one) for one in shown])
    scaled = ["value", "low", "high", "floor", "ceiling"]
    frame[scaled] = frame[scaled].astype(float) * factor
    frame["link"] = [f"run?record={number}" for number in frame["record"]]
    return frame


def _axis(axis: Sequence[Slot]) -> alt.X:
    # The names stand in an expression: what is no letter or digit could end its text.
    names_of = (re.sub(r"[^0-9A-Za-z+]", "?", slot.commit[:7]) for slot in axis)
    labels = ",".join(f"'{name}'" for name in names_of)
    return alt.X(
        "position:Q",
        title="commit, in the order of measuring",
        scale=alt.Scale(domain=[-0.5, max(len(axis) - 0.5, 0.5)], nice=False),
        axis=alt.Axis(
            labelExpr=f"[{labels}][datum.value] || ''",
            tickMinStep=1,
            labelAngle=-40,
            labelOverlap="greedy",
            grid=False,
        ),
    )


def _value(y_title: str) -> alt.Tooltip:
    return alt.Tooltip("value:Q", title=y_title, format=",.5~g")


def _tooltip(y_title: str) -> list[alt.Tooltip]:
    return [
        alt.Tooltip("label:N", title="commit"),
        _value(y_title),
        alt.Tooltip("low:Q", title="lowest trial", format=",.5~g"),
        alt.Tooltip("high:Q", title="highest trial", format=",.5~g"),
        alt.Tooltip("records:Q"),
        alt.Tooltip("valid:N"),
    ]


def _rules(events: Sequence[Event], x: alt.X) -> list[alt.Chart]:
    """Draw what happened: a line across for what is of ``RULES``, triangles for gates."""
    frames = {
        kind: pd.DataFrame([asdict(event) for event in events if event.kind == kind])
        for kind in (*RULES, *OUTCOMES)
    }
    tooltip = [alt.Tooltip("kind:N"), alt.Tooltip("text:N")]
    drawn = []
    for kind, frame in frames.items():
        if frame.empty:
            continue
        base = alt.Chart(frame).encode(x=x, tooltip=tooltip)
        if kind in RULES:
            dashes, width, own = RULES[kind]
            drawn.append(base.mark_rule(strokeDash=dashes, strokeWidth=width, color=own))
        else:
            bad = kind == "regress"
            mark = base.mark_point(
                filled=True,
                size=80,
                opacity=1,
                shape="triangle-down" if bad else "triangle-up",
                color=ALARM if bad else NEUTRAL,
            )
            drawn.append(mark.encode(y=alt.value(8)))
    return drawn
