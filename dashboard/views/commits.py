"""One metric over commits, two commits side by side, and the regressions that were found."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta

import pandas as pd
import streamlit as st

from dashboard import choices, emptiness
from dashboard.analysis import changes, figures, timeline
from dashboard.charts.drawing import draw
from dashboard.database import ask, location
from db import queries, verdicts
from db.engine import open_database
from db.queries import Commit, Newest
from db.verdicts import RegressionRow, SeriesKey
from worker.metrics import METRICS

VIEWS = ("Timeline", "Compare two commits", "Regressions")
SPARK = 40  # commits in a table's small lines
RAW = 2000  # samples: more dots than a screen has columns say nothing


def name_of(commit: Commit) -> str:
    return f"{(commit.commit or commit.build)[:10]}{'+changes' if commit.dirty else ''}"


def cell_name(row: Newest) -> str:
    context = f" @ {figures.context(row.context)}" if row.context else ""
    return f"{row.benchmark} {row.cache or ''}{context} ({row.model or 'no model'})"


def show_timeline(known: Sequence[Newest], commits: Sequence[Commit]) -> None:
    regressed = {
        (one["cell"], one["metric"], one["device"])
        for row in ask(verdicts.regressions)
        if row.state != "withdrawn"
        for one in row.series
    }
    if st.toggle("Regressions only", key="regressions_only", bind="query-params"):
        known = [row for row in known if (row.cell, row.metric, row.device) in regressed]
        if not known:
            st.success("No series has a regression.", icon=":material/check:")
            return
    left, right, third = st.columns([1, 2, 1])
    with left:
        measured = {row.metric for row in known}
        metric = choices.one("Metric", [name for name in METRICS if name in measured], "metric")
    of_metric = [row for row in known if row.metric == metric]
    with right:
        cell = choices.one("Cell", sorted({cell_name(row) for row in of_metric}), "cell")
    with third:
        count = choices.one("Commits", [100, 25, 50, 400], "commits")
    of_cell = [row for row in of_metric if cell_name(row) == cell]
    devices = choices.some("Devices", [row.device for row in of_cell], "devices", most=3)
    axis = timeline.slots((commit.build, name_of(commit)) for commit in reversed(commits[:count]))
    for row in of_cell:
        if row.device in devices:
            show_series(row, axis)
    st.caption(timeline.LEGEND)
    show_sparks(of_cell, commits)


def show_series(row: Newest, axis: Sequence[timeline.Slot]) -> None:
    points = ask(queries.timeline, (row.series,))
    shown = timeline.places(points, axis)
    st.markdown(f"**{row.device}**")
    if not shown:
        st.info("Nothing was measured here at these commits.", icon=":material/info:")
        return
    builds = {slot.build: slot.position for slot in axis}
    records = {point.record: builds[point.build] for point in points if point.build in builds}
    raw = [
        (records[record], value)
        for record, value in ask(queries.raw_samples, row.series, RAW)
        if record in records
    ]
    draw(
        timeline.chart,
        shown,
        raw,
        events(row, points, axis),
        axis,
        row.metric,
        key=f"chart-{row.series}",
    )


def events(
    row: Newest, points: Sequence[timeline.Measured], axis: Sequence[timeline.Slot]
) -> list[timeline.Event]:
    by_commit = {slot.commit: slot.position for slot in axis}
    by_build = {slot.build: slot.position for slot in axis}
    found = timeline.environment_changes(points, axis)
    for regression in ask(verdicts.regressions):
        mine = any(
            (one["cell"], one["metric"], one["device"]) == (row.cell, row.metric, row.device)
            for one in regression.series
        )
        if mine and regression.bad[:10] in by_commit:
            text = f"{figures.percent(regression.effect)}, {regression.state}"
            found.append(timeline.Event(by_commit[regression.bad[:10]], "regression", text))
    for suspect in ask(verdicts.suspects, SeriesKey(row.cell, row.device, row.metric)):
        if suspect.commit[:10] in by_commit:
            answer = "confirmed by the gate" if suspect.changed else "not confirmed by the gate"
            found.append(timeline.Event(by_commit[suspect.commit[:10]], "change point", answer))
    for verdict in ask(queries.series_verdicts, row.cell, row.device, row.metric):
        if verdict.injected is None and verdict.candidate in by_build:
            text = figures.percent(verdict.effect) if verdict.effect is not None else "no effect"
            found.append(timeline.Event(by_build[verdict.candidate], verdict.outcome, text))
    return found


def show_sparks(rows: Sequence[Newest], commits: Sequence[Commit]) -> None:
    since = commits[: SPARK + 1][-1].measured
    lines: dict[int, list[float]] = {}
    for point in ask(queries.timeline, tuple(row.series for row in rows), since):
        if point.valid:
            lines.setdefault(point.series, []).append(point.value)
    table = pd.DataFrame(
        [
            {
                "device": row.device,
                f"last {SPARK} commits": lines.get(row.series, []),
                "newest": figures.shown(row.metric, row.value, row.low, row.high),
                "noise": row.noise,
                "record": f"/run?record={row.record}",
            }
            for row in rows
        ]
    )
    st.dataframe(
        table,
        hide_index=True,
        column_config={
            f"last {SPARK} commits": st.column_config.LineChartColumn(),
            "noise": st.column_config.NumberColumn(
                format="percent", help="relative standard deviation from point to point"
            ),
            "record": st.column_config.LinkColumn(display_text="open"),
        },
    )


def show_comparison(commits: Sequence[Commit]) -> None:
    if len(commits) < 2:  # noqa: PLR2004  two are compared
        st.info(
            "There is only one commit. Measure another with `farm run --commit REV`.",
            icon=":material/info:",
        )
        return
    left, right = st.columns(2)
    with left:
        base = choices.one("Base", commits, "base", show=name_of, start=1)
    with right:
        head = choices.one("Head", commits, "head", show=name_of)
    only = st.toggle("Only what changed", value=True, key="only_changed", bind="query-params")
    found = ask(queries.changes, base.build, head.build)
    judged = changes.by_significance([(change, changes.judge(change)) for change in found])
    shown = [pair for pair in judged if not only or pair[1].answer != "same"]
    st.caption(
        f"{len(found)} series were measured at both; {len(shown)} are shown. Significance is the "
        "change over its noise: a first look. A verdict with a known error rate comes from "
        "`farm gate`."
    )
    if not shown:
        st.success("Nothing changed by more than noise and tolerance.", icon=":material/check:")
        return
    st.dataframe(
        pd.DataFrame(
            [
                {
                    "answer": answer.answer,
                    "change": answer.relative,
                    "times its noise": answer.significance,
                    "metric": change.metric,
                    "cache": change.cache,
                    "context": change.context,
                    "device": change.device,
                    "base": change.base,
                    "head": change.head,
                    "record": f"/run?record={change.head_record}",
                }
                for change, answer in shown
            ]
        ),
        hide_index=True,
        column_config={
            "change": st.column_config.NumberColumn(format="percent"),
            "times its noise": st.column_config.NumberColumn(format="%.1f"),
            "base": st.column_config.NumberColumn(format="%.4g"),
            "head": st.column_config.NumberColumn(format="%.4g"),
            "record": st.column_config.LinkColumn(display_text="open"),
        },
    )


def show_regressions() -> None:
    found = ask(verdicts.regressions)
    if not found:
        st.info("No regression was found. `farm nightly` looks for them.", icon=":material/info:")
        return
    states = sorted({row.state for row in found}, reverse=True)
    state = choices.one("State", states, "state")
    for row in (row for row in found if row.state == state):
        show_regression(row)


def show_regression(row: RegressionRow) -> None:
    devices = sorted({one["device"] for one in row.series})
    culprit = f"`{row.culprit[:10]}`" if row.culprit else f"`{row.good[:10]}`..`{row.bad[:10]}`"
    sure = f", {row.confidence:.0%} sure" if row.confidence else ""
    with st.container(border=True):
        st.markdown(
            f"**{figures.percent(row.effect)}** on {row.branch} by {culprit}{sure}; "
            f"{len(row.series)} series on {len(devices)} devices: {', '.join(devices)}"
        )
        if row.state == "acknowledged":
            until = f" until {clock(row.expires)}" if row.expires else ""
            st.markdown(f"Acknowledged by {row.author}{until}: {row.reason}")
        if row.state == "open":
            show_acknowledge(row)


def show_acknowledge(row: RegressionRow) -> None:
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
                acknowledge(row, author.strip(), reason.strip(), expires)
                st.rerun()


def acknowledge(row: RegressionRow, author: str, reason: str, expires: date) -> None:
    """Store the acknowledgement: the dashboard's only write."""
    engine = open_database(location())
    end = datetime.combine(expires, time(), UTC).timestamp()
    changed = vars(row) | {
        "state": "acknowledged",
        "author": author,
        "reason": reason,
        "expires": end,
    }
    verdicts.record_regression(engine, RegressionRow(**changed))
    engine.dispose()


def clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")


st.title("Commits")
known = ask(queries.newest)
commits = ask(queries.commits)
if not known:
    emptiness.stop("No figure yet. Measure this machine with `farm run`.")
view = choices.one("View", VIEWS, "view")
if view == VIEWS[0]:
    show_timeline(known, commits)
elif view == VIEWS[1]:
    show_comparison(commits)
else:
    show_regressions()
