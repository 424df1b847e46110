"""Tables: figures are numbers with their spread in a column of its own, so that they sort."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import streamlit as st

from dashboard.analysis.figures import scale

PERCENT = st.column_config.NumberColumn(format="percent")
BAR = st.column_config.ProgressColumn(format="percent", min_value=0, max_value=1)
OPEN = st.column_config.LinkColumn(display_text="open")
FIGURE = st.column_config.NumberColumn(format="%.4g")
SPREAD = st.column_config.NumberColumn(
    "±", format="%.2g", help="half the range of its trials; empty where there was one"
)


def link(record: int) -> str:
    """Return the address of a record's page, from any page and below any base path."""
    return f"run?record={record}"


def show(rows: Sequence[Mapping[str, Any]], **columns: Any) -> None:
    """Show rows, nothing for none; ``columns`` say how some are written.

    A column in which nothing stands is left out: on a phone it pushes others from the screen.
    """
    if not rows:
        return
    named = {name.replace("_", " "): column for name, column in columns.items()}
    filled = [name for name in rows[0] if any(row[name] not in (None, "") for row in rows)]
    frame = pd.DataFrame([{name: row[name] for name in filled} for row in rows])
    st.dataframe(frame, hide_index=True, column_config=named, placeholder="")


def unit(metric: str, values: Sequence[float]) -> tuple[float, str]:
    """Return factor and unit in which one table shows all figures of a metric."""
    by = scale(metric, max((abs(value) for value in values), default=1.0))
    return by.factor, by.unit


def figure(value: float, low: float, high: float, factor: float) -> dict[str, float | None]:
    """Return a figure and its spread as two columns."""
    half = (high - low) / 2 * factor
    return {"figure": value * factor, "spread": half or None}
