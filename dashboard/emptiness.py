"""What a page says when it has nothing to show."""

from __future__ import annotations

from collections import Counter

import streamlit as st

from dashboard.database import ask
from db import queries


def stop(sentence: str) -> None:
    """Say what is missing and what to run, and why records that are there do not count."""
    st.info(sentence, icon=":material/info:")
    troubles = ask(queries.troubles)
    if troubles:
        reason, count = Counter(trouble.why for trouble in troubles).most_common(1)[0]
        st.warning(
            f"{len(troubles)} of {ask(queries.counted_records)} records failed or were judged "
            f"invalid and are not shown, {count} of them because: {reason}. The page Tonight lists "
            "them. Measure again when nothing else is at work on the machine.",
            icon=":material/block:",
        )
    st.stop()
