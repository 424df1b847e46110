"""Published figures beside this farm's own, with difference and flags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import streamlit as st

from dashboard import tables
from dashboard.analysis import figures
from dashboard.database import ask
from db import beside, queries
from db.beside import Beside
from db.queries import Figure, Published


def show(reference: Sequence[Published], own: Sequence[Figure]) -> None:
    """Show published figures, what each device measured of them, and what is doubtful."""
    if not reference:
        return
    doubts = _doubts(ask(queries.published))
    rows = [
        replace(one, doubts=doubts[row])
        for row in reference
        for one in beside.set_beside([row], own)
    ]
    st.subheader("Beside what was published")
    tables.show([_row(one) for one in rows], difference=tables.PERCENT)
    suites = sorted({row.suite for row in reference})
    st.caption(
        "The same, for a whole table: "
        + ", ".join(f"`farm compare-published {suite}`" for suite in suites)
        + "; measure it with `farm run --suite` and that name."
    )


@lru_cache(maxsize=2)
def _doubts(rows: tuple[Published, ...]) -> dict[Published, tuple[str, ...]]:
    """Return why each published figure is doubtful, by the others of its table."""
    by_suite: dict[str, list[Published]] = {}
    for row in rows:
        by_suite.setdefault(row.suite, []).append(row)
    return {row: beside.doubts(row, by_suite[row.suite]) for row in rows}


def _row(one: Beside) -> dict[str, object]:
    row = one.published
    return {
        "context": row.context,
        "published": text(row, row.value),
        "measured here": "" if one.measured is None else text(row, one.measured, bound=False),
        "difference": one.difference,
        "flag": one.flag,
        "device": one.device or row.device,
        "source": row.source,
        "note": row.note,
    }


def text(row: Published, value: float, *, bound: bool = True) -> str:
    """Write a published figure, or one measured to stand beside it."""
    if row.kind == "ratio":
        return f"{value:.1%} of fp16"
    shown = figures.shown(row.metric, value, value, value)
    return f"{row.kind} {shown}" if bound and row.kind != "figure" else shown
