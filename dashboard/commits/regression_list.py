"""Regressions: what each says, its evidence, and its acknowledgement."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from urllib.parse import urlencode

import streamlit as st

from dashboard import choices, tables
from dashboard.analysis import figures, naming, regressions
from dashboard.database import ask, location
from dashboard.plain import linked, plain
from db import queries, store
from db.engine import open_database
from db.queries import Affected, Description, RegressionRow

STATES = ("open", "acknowledged", "withdrawn")


def show() -> str:
    """List the regressions of one state, the newest first; return a headline of all."""
    found = ask(queries.regressions)
    if not found:
        st.info("No regression was found. `farm nightly` looks for them.", icon=":material/info:")
        return ""
    states = [state for state in STATES if any(row.state == state for row in found)]
    state = choices.one("State", states, "state")
    for row in (row for row in found if row.state == state):
        _show_one(row)
    return regressions.overview(found, ask(queries.descriptions))


def _show_one(row: RegressionRow) -> None:
    said = ask(queries.descriptions)
    affected = ask(queries.affected, row.id) if row.id is not None else ()
    with st.container(border=True):
        st.markdown(f"**{plain(regressions.headline(row, affected, said), 600)}**")
        st.markdown(_commits(row, said))
        if affected:
            st.markdown(f"[Its timeline]({_timeline_of(affected[0])})")
            with st.expander(f"Evidence: {len(affected)} series"):
                _show_evidence(affected)
        if row.state == "acknowledged":
            until = f" until {naming.day(row.expires)}" if row.expires else ""
            st.markdown(f"Acknowledged by {plain(row.author)}{until}: {plain(row.reason, 500)}")
            if st.button("Reopen", key=f"reopen-{row.id}"):
                _store(row, state="open", author=None, reason=None, expires=None)
                st.rerun()
        if row.state == "open":
            _show_acknowledge(row)


def _commits(row: RegressionRow, said: dict[str, Description]) -> str:
    """Write the commit to blame, or both ends, with date, author and link."""
    names = [("culprit", row.culprit)] if row.culprit else [("good", row.good), ("bad", row.bad)]
    return "; ".join(f"{role} {_commit(name, said.get(name))}" for role, name in names if name)


def _commit(name: str, known: Description | None) -> str:
    short = name[: naming.SHORT_HASH]
    if known is None:
        return plain(short)
    written = f"{naming.day(known.authored)} by {plain(known.author, 60)}"
    return f"{linked(short, known.url)} {plain(known.subject)}, {written}"


def _timeline_of(one: Affected) -> str:
    asked = {"view": "Timeline", "metric": one.metric, "series": one.cell[:12]}
    return f"commits?{urlencode(asked)}"


def _show_evidence(affected: Sequence[Affected]) -> None:
    tables.show(
        [
            {
                "change": one.effect,
                "from": one.low,
                "to": one.high,
                "metric": naming.metric(one.metric),
                "context": figures.context(one.context),
                "cache": naming.cache(one.cache),
                "device": one.device,
                "pairs": one.pairs,
                "gate": f"run?{urlencode({'run': one.run})}" if one.run else None,
            }
            for one in affected
        ],
        change=tables.PERCENT,
        to=tables.PERCENT,
        gate=tables.OPEN,
        **{"from": tables.PERCENT},
    )


def _show_acknowledge(row: RegressionRow) -> None:
    with st.form(f"acknowledge-{row.id}"):
        st.markdown("Acknowledge it")
        author = st.text_input("Author", key=f"author-{row.id}")
        reason = st.text_input("Reason", key=f"reason-{row.id}")
        today = datetime.now(UTC).date()
        expires = st.date_input(
            "Expires", today + timedelta(days=30), min_value=today, key=f"expires-{row.id}"
        )
        if st.form_submit_button("Acknowledge"):
            if not author.strip() or not reason.strip():
                st.error("An acknowledgement needs an author and a reason.")
            else:
                _store(
                    row,
                    state="acknowledged",
                    author=author.strip(),
                    reason=reason.strip(),
                    expires=_end_of(expires),
                )
                st.rerun()


def _end_of(day: date) -> float:
    return datetime.combine(day, time.max, UTC).timestamp()


def _store(row: RegressionRow, **changed: object) -> None:
    """Store a regression's new state: the dashboard's only write."""
    engine = open_database(location())
    store.record_regression(engine, RegressionRow(**(vars(row) | changed)))
    engine.dispose()
