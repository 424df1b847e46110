"""What happened over commits: regressions, one metric over time, two commits side by side."""

from __future__ import annotations

import streamlit as st

from dashboard import choices, emptiness
from dashboard.analysis import regressions
from dashboard.commits import comparison, regression_list, timeline
from dashboard.database import ask
from dashboard.plain import plain
from db import queries

REGRESSIONS, TIMELINE, COMPARE = VIEWS = ("Regressions", "Timeline", "Compare two commits")


def page() -> None:
    """Open where something happened: at the regressions if one is open, else at the timeline."""
    st.title("Commits")
    top = st.container()
    commits = ask(queries.commits)
    known = ask(queries.newest)
    if not known:
        emptiness.tell("No figure of a commit counts yet. Measure this machine with `farm run`.")
        return
    is_open = regressions.newest_open(ask(queries.regressions)) is not None
    view = choices.one(
        "View", VIEWS, "view", start=VIEWS.index(REGRESSIONS if is_open else TIMELINE)
    )
    if view == REGRESSIONS:
        said = regression_list.show()
    elif view == TIMELINE:
        said = timeline.show(known, commits)
    else:
        said = comparison.show(commits)
    if said:
        top.markdown(f"### {plain(said, 600)}")


if __name__ == "__main__":
    page()
