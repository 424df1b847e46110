"""Colours and shapes: a device has the same on every page, and shapes repeat what colours say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import altair as alt

# Each has a contrast of at least 3 to 1 on white and on Streamlit's dark background.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#C4709F", "#B8860B", "#7F7F7F")
# Of what happened at a commit and what does not count: no device has one of these.
ALARM, DOUBT, ELSEWHERE, NEUTRAL = "#E0245E", "#8E63CE", "#8C6D5A", "#6B7785"
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")
MOST = len(COLOURS)


def places(found: Iterable[str], order: Sequence[str] = ()) -> dict[str, int]:
    """Return each name's place in ``order``, what is not in it after it; the first place first."""
    shown = dict.fromkeys(found)
    known = dict.fromkeys([*order, *shown])
    return {name: place for place, name in enumerate(known) if name in shown}


def colour(place: int) -> str:
    return COLOURS[place % MOST]


def shape(place: int) -> str:
    """Return a shape that differs where the colours of two places are the same."""
    return SHAPES[(place + place // MOST) % MOST]


def names(found: Iterable[str], order: Sequence[str] = ()) -> alt.Color:
    """Return the encoding of what tells lines apart, its legend below the chart."""
    placed = places(found, order)
    legend = alt.Legend(orient="bottom", columns=1, labelLimit=0, title=None, symbolOpacity=1)
    domain, colours = list(placed), [colour(place) for place in placed.values()]
    return alt.Color("name:N", scale=alt.Scale(domain=domain, range=colours), legend=legend)


def shapes(found: Iterable[str], order: Sequence[str] = ()) -> alt.Shape:
    """Return shapes that repeat what the colours of ``names`` say."""
    placed = places(found, order)
    domain, marks = list(placed), [shape(place) for place in placed.values()]
    return alt.Shape("name:N", scale=alt.Scale(domain=domain, range=marks), legend=None)


def height(found: Iterable[str]) -> int:
    """Return a height in pixels that leaves room for a legend with a line for each name."""
    return 380 + 20 * len(set(found))
