"""Published figures beside this farm's own, with difference and flags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from dashboard import tables
from dashboard.analysis import figures
from dashboard.database import ask
from db import beside, queries
from db.beside import Line
from db.queries import Figure, Published
from worker.roofline import TOO_FAST


def show(reference: Sequence[Published], own: Sequence[Figure]) -> None:
    """Show published figures, what each device measured of them, and what is doubtful."""
    if not reference:
        return
    everything = ask(queries.published)
    lines = [
        replace(line, doubts=beside.doubts(row, [r for r in everything if r.suite == row.suite]))
        for row in reference
        for line in beside.lines([row], own)
    ]
    st.subheader("Beside what was published")
    tables.show([_row(line) for line in lines], difference=tables.PERCENT)
    suites = sorted({row.suite for row in reference})
    st.caption(
        "The same, for a whole table: "
        + ", ".join(f"`farm compare-published {suite}`" for suite in suites)
        + "; measure it with `farm run --suite` and that name."
    )


def _row(line: Line) -> dict[str, object]:
    row = line.published
    return {
        "context": row.context,
        "published": text(row, row.value),
        "measured here": "" if line.measured is None else text(row, line.measured, bound=False),
        "difference": line.difference,
        "device": line.device or row.device,
        "flag": flag(line),
        "source": row.source,
        "note": row.note,
    }


def text(row: Published, value: float, *, bound: bool = True) -> str:
    """Write a published figure, or one measured to stand beside it."""
    if row.kind == "ratio":
        return f"{value:.1%} of fp16"
    shown = figures.shown(row.metric, value, value, value)
    return f"{row.kind} {shown}" if bound and row.kind != "figure" else shown


def flag(line: Line) -> str:
    """Say why a published figure cannot be, or is suspicious."""
    if not line.doubts:
        return ""
    kind = "impossible" if TOO_FAST in line.doubts else "suspicious"
    return f"{kind}: {'; '.join(line.doubts)}"
