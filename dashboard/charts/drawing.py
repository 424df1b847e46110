"""Charts on the page: built once for the same rows, because building costs more than all else."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import pandas as pd
import streamlit as st

from dashboard.charts.marks import Chart


def draw(build: Callable[..., Chart], *rows: Any, key: str | None = None) -> None:
    """Show the chart that ``build(*rows)`` returns; lists are passed as tuples.

    ``key`` tells two charts of equal content on one page apart.
    """
    hashable = (tuple(row) if isinstance(row, list) else row for row in rows)
    st.vega_lite_chart(_specification(build, *hashable), key=key)


@lru_cache(maxsize=128)
def _specification(build: Callable[..., Chart], *rows: Any) -> dict[str, Any]:
    # Altair's schema check takes longer than the page may; the tests of each chart make it.
    found: dict[str, Any] = build(*rows).to_dict(validate=False)
    found.pop("config", None)  # sizes of Altair's theme, where Streamlit has its own
    found["datasets"] = {name: pd.DataFrame(data) for name, data in found["datasets"].items()}
    return found
