"""What a page says when it has nothing to show of this farm's own."""

from __future__ import annotations

import streamlit as st

from dashboard.analysis import nights
from dashboard.database import ask
from dashboard.plain import plain
from db import queries


def tell(sentence: str) -> None:
    """Say what is missing and what to run, and why records that are there do not count."""
    st.info(sentence, icon=":material/info:")
    troubles = ask(queries.troubles)
    if troubles:
        kinds = ", ".join(f"{plain(kind)} ({count})" for kind, count in nights.kinds(troubles)[:3])
        st.warning(
            f"{len(troubles)} of {ask(queries.counted_records).ours} records failed or do not "
            f"count and are not shown: {kinds}. The last one: {plain(troubles[0].why)}. The page "
            "Tonight counts them. Measure again when nothing else is at work on the machine: "
            "`farm run --again 3`.",
            icon=":material/block:",
        )
