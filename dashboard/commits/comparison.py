"""Two commits over all cells, summed up and filtered."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from dashboard import choices, tables
from dashboard.analysis import changes, naming
from dashboard.analysis.changes import Pair
from dashboard.database import ask
from db import queries
from db.queries import Commit

EVERYTHING = "all"
MOVED = "what changed"


def show(commits: Sequence[Commit]) -> str:
    """Compare two builds: a line for each metric, and the series themselves; return a headline."""
    if len(commits) < 2:  # noqa: PLR2004  two are compared
        st.info(
            "There is only one commit. Measure another with `farm run --commit REV`.",
            icon=":material/info:",
        )
        return ""
    base, head = _choose(commits)
    found = changes.once(ask(queries.changes, base.build, head.build))
    pairs = changes.by_significance([(change, changes.judge(change)) for change in found])
    said = ask(queries.descriptions)
    short = [naming.revision(one.commit or one.build, said) for one in (base, head)]
    if pairs:
        _show_totals(pairs)
        _show_pairs(_filtered(pairs))
    return changes.headline(pairs, *short)


def _choose(commits: Sequence[Commit]) -> tuple[Commit, Commit]:
    said = ask(queries.descriptions)
    left, right = st.columns(2)

    def label(one: Commit) -> str:
        return naming.commit(one, said, dirty=one.dirty)

    def address(one: Commit) -> str:
        return one.build

    with left:
        base = choices.one("Base", commits, "base", show=label, address=address, start=1)
    with right:
        head = choices.one("Head", commits, "head", show=label, address=address)
    return base, head


def _filtered(pairs: Sequence[Pair]) -> list[Pair]:
    one, two, three = st.columns(3)
    answers = [answer for answer in changes.ANSWERS if any(p[1].answer == answer for p in pairs)]
    with one:
        answer = choices.one("Answer", [MOVED, EVERYTHING, *answers], "answer")
    with two:
        metrics = sorted({change.metric for change, _ in pairs})
        metric = choices.one(
            "Metric", [EVERYTHING, *metrics], "metric", show=naming.metric, address=str
        )
    with three:
        devices = sorted({change.device for change, _ in pairs})
        device = choices.one("Device", [EVERYTHING, *devices], "device")
    return [
        (change, judged)
        for change, judged in pairs
        if (judged.answer != "same" if answer == MOVED else answer in (EVERYTHING, judged.answer))
        and metric in (EVERYTHING, change.metric)
        and device in (EVERYTHING, change.device)
    ]


def _show_totals(pairs: Sequence[Pair]) -> None:
    tables.show(
        [
            {
                "metric": naming.metric(total.metric),
                "geometric mean": total.middle,
                "from": total.low,
                "to": total.high,
                "worse": total.counted["worse"],
                "better": total.counted["better"],
                "same": total.counted["same"],
                "noise unknown": total.counted["noise unknown"],
                "not comparable": total.counted["not comparable"],
            }
            for total in changes.totals(pairs)
        ],
        geometric_mean=tables.PERCENT,
        to=tables.PERCENT,
        **{"from": tables.PERCENT},
    )
    st.caption(
        "The mean change of each metric over its series, from and to: its 95% interval. A metric "
        "that is another one inverted, such as time per token, is left out. “Times its noise” "
        "below is a first look; a verdict with a known error rate comes from `farm gate`."
    )


def _show_pairs(pairs: Sequence[Pair]) -> None:
    if not pairs:
        st.success("Nothing changed by more than noise and tolerance.", icon=":material/check:")
        return
    own = naming.own_parameters((change for change, _ in pairs), ask(queries.parameters))
    tables.show(
        [
            {
                "answer": judged.answer,
                "change": judged.relative,
                "times its noise": judged.significance,
                "metric": naming.metric(change.metric),
                "context": change.context,
                "cache": naming.cache(change.cache),
                "parameters": own[change.cell],
                "device": change.device,
                "base": change.base,
                "head": change.head,
                "record": tables.link(change.head_record),
            }
            for change, judged in pairs
        ],
        change=tables.PERCENT,
        times_its_noise=st.column_config.NumberColumn(format="%.1f"),
        base=tables.FIGURE,
        head=tables.FIGURE,
        record=tables.OPEN,
    )
