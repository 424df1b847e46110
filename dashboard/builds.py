"""The build that a page shows, chosen in one place for all pages."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from dashboard import choices
from dashboard.analysis import naming
from dashboard.analysis.build_choice import newest_complete
from dashboard.database import ask
from dashboard.plain import linked
from db import queries
from db.queries import BuildSummary

# Builds looked at for figures; older ones are reached by the page of commits.
OFFERED = 20


def choose(metrics: Sequence[str]) -> BuildSummary | None:
    """Let a build with figures of these metrics be chosen; None if there is none at all."""
    late = ask(queries.commits)[:OFFERED]
    found = [ask(queries.build_summary, one.build, tuple(metrics)) for one in late]
    known = [one for one in found if one is not None]
    if not known:
        return None
    said = ask(queries.descriptions)

    def label(one: BuildSummary) -> str:
        measured = f"{one.series} series on {one.devices} devices"
        return f"{naming.commit(one, said, dirty=one.dirty)}: {measured}"

    chosen = choices.one(
        "Build",
        known,
        "build",
        show=label,
        address=lambda one: one.build,
        start=newest_complete(known),
        note="Nothing is compared across builds. The newest that was measured whole comes first.",
    )
    _tell(chosen, known)
    return chosen


def _tell(chosen: BuildSummary, known: Sequence[BuildSummary]) -> None:
    """Say from when the figures are, with the commit's link, and whether newer ones are partial."""
    commit = ask(queries.descriptions).get(chosen.commit or "")
    newer = known.index(chosen)
    more = f"; {newer} newer ones were measured in part" if newer else ""
    name = linked(naming.commit(chosen, ask(queries.descriptions)), commit.url if commit else None)
    st.caption(f"Figures of {name}, measured from {naming.clock(chosen.measured)}{more}.")
