"""One metric over commits: gaps stay gaps, and a line ends where the environment changes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Protocol

import altair as alt
import pandas as pd

from dashboard.analysis.figures import scale, title
from dashboard.charts.marks import COLOURS, Chart

RULES = {
    # Dashes, width and colour of the line at a commit.
    "regression": ([6, 3], 2, COLOURS[1]),
    "change point": ([2, 2], 1, COLOURS[2]),
    "environment": ([1, 3], 2, COLOURS[5]),
}
LEGEND = (
    "Small dots: raw samples. Large dots: the typical sample of a commit; crosses do not count. "
    "Lines across: dashed a regression, thin a suspected change point, dotted another "
    "environment. Triangles at the top: what a gate said, pointing down for a regression."
)
OUTCOMES = ("pass", "improve", "inconclusive", "regress", "invalid")


class Measured(Protocol):
    """A point of a series, as ``db.queries.timeline`` gives it."""

    @property
    def record(self) -> int: ...
    @property
    def build(self) -> str: ...
    @property
    def comparison_key(self) -> str: ...
    @property
    def valid(self) -> bool: ...
    @property
    def value(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...


@dataclass(frozen=True)
class Slot:
    """A commit's place on the axis."""

    position: int
    build: str
    commit: str


@dataclass(frozen=True)
class Place:
    """What a series measured at one commit; points of one ``segment`` are joined by a line."""

    position: int
    commit: str
    value: float
    low: float
    high: float
    records: int
    valid: bool
    segment: int


@dataclass(frozen=True)
class Event:
    """Something that happened at a commit.

    ``kind`` is ``regression``, ``change point``, ``environment`` or a gate's outcome.
    """

    position: int
    kind: str
    text: str


def slots(builds: Iterable[tuple[str, str]]) -> list[Slot]:
    """Give (build, commit), oldest first, their places."""
    return [Slot(i, build, commit[:10]) for i, (build, commit) in enumerate(builds)]


def places(points: Sequence[Measured], axis: Sequence[Slot]) -> list[Place]:
    """Put a series' points at their commits; several valid records of a commit are one place."""
    by_build: dict[str, list[Measured]] = {}
    for point in points:
        by_build.setdefault(point.build, []).append(point)
    found: list[Place] = []
    before: tuple[int, str] | None = None
    segment = 0
    for slot in axis:
        here = by_build.get(slot.build, [])
        valid = [point for point in here if point.valid]
        if not here:
            continue
        shown = valid or here
        key = shown[-1].comparison_key
        if valid:
            if before != (slot.position - 1, key):
                segment += 1
            before = (slot.position, key)
        found.append(
            Place(
                slot.position,
                slot.commit,
                median(point.value for point in shown),
                min(point.low for point in shown),
                max(point.high for point in shown),
                len(shown),
                bool(valid),
                segment,
            )
        )
    return found


def environment_changes(points: Sequence[Measured], axis: Sequence[Slot]) -> list[Event]:
    """Return where a series' comparison key differs from the one before."""
    position = {slot.build: slot.position for slot in axis}
    found = []
    before = None
    for point in (point for point in points if point.valid and point.build in position):
        if before not in {None, point.comparison_key}:
            found.append(
                Event(position[point.build], "environment", "the environment changed here")
            )
        before = point.comparison_key
    return found


def chart(
    shown: Sequence[Place],
    raw: Sequence[tuple[int, float]],
    events: Sequence[Event],
    axis: Sequence[Slot],
    metric: str,
) -> Chart:
    """Draw a series: raw samples (position, value) as dots, typical values as a line, events."""
    by = scale(metric, max((abs(place.value) for place in shown), default=1.0))
    y_title = title(metric, by.unit)
    frame = pd.DataFrame([asdict(place) for place in shown])
    frame[["value", "low", "high"]] *= by.factor
    dots = pd.DataFrame(raw, columns=["position", "value"])
    dots["value"] *= by.factor
    labels = ",".join(f"'{slot.commit[:7]}'" for slot in axis)
    x = alt.X(
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
    y = alt.Y("value:Q", title=y_title, scale=alt.Scale(zero=False, padding=14))
    base = alt.Chart().encode(x=x)
    tooltip = [
        alt.Tooltip("commit:N"),
        alt.Tooltip("value:Q", title=y_title, format=",.5~g"),
        alt.Tooltip("low:Q", title="lowest trial", format=",.5~g"),
        alt.Tooltip("high:Q", title="highest trial", format=",.5~g"),
        alt.Tooltip("records:Q"),
        alt.Tooltip("valid:N"),
    ]
    valid = base.transform_filter("datum.valid")
    layers = [
        *_rules(events, x),
        alt.Chart(dots)
        .mark_point(filled=True, size=10, opacity=0.35, color=COLOURS[5])
        .encode(x=x, y=y),
        valid.mark_line(color=COLOURS[0], strokeWidth=1.5).encode(
            y=y, detail=alt.Detail("segment:N")
        ),
        valid.mark_point(filled=True, size=36, opacity=1, color=COLOURS[0]).encode(
            y=y, tooltip=tooltip
        ),
        base.transform_filter("!datum.valid")
        .mark_point(shape="cross", size=70, angle=45, filled=True, opacity=1, color=COLOURS[1])
        .encode(y=y, tooltip=tooltip),
    ]
    return alt.layer(*layers, data=frame).properties(height=340)


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
            dashes, width, colour = RULES[kind]
            drawn.append(base.mark_rule(strokeDash=dashes, strokeWidth=width, color=colour))
        else:
            bad = kind == "regress"
            mark = base.mark_point(
                filled=True,
                size=80,
                opacity=1,
                shape="triangle-down" if bad else "triangle-up",
                color=COLOURS[1] if bad else COLOURS[2],
            )
            drawn.append(mark.encode(y=alt.value(8)))
    return drawn
