"""One metric of one cell over commits, device by device or all together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from dashboard import choices, tables
from dashboard.analysis import figures, naming, regressions, timeline
from dashboard.analysis.timeline import Event, Place, Slot
from dashboard.charts import timeline as charts
from dashboard.charts.drawing import draw
from dashboard.database import ask
from dashboard.plain import plain
from db import queries
from db.queries import Commit, Newest, Point, SeriesKey
from worker.metrics import METRICS

SPARK = 40  # commits in a table's small lines
RAW = 2000  # samples: more dots than a screen has columns say nothing
COUNTS = (100, 25, 50, 400)
Key = tuple[str, str, str]


def show(known: Sequence[Newest], commits: Sequence[Commit]) -> str:
    """Show a series of each chosen device, beginning with one that regressed; return a headline."""
    regressed = _regressed()
    if choices.switch("Regressions only", "regressions_only"):
        known = [row for row in known if _key(row) in regressed]
        if not known:
            st.success("No series has a regression.", icon=":material/check:")
            return ""
    of_cell = _choose(known, regressed)
    left, right = st.columns([1, 3])
    with left:
        count = choices.one("Commits", COUNTS, "commits")
    with right:
        names = [row.device for row in of_cell]
        start = [row.device for row in of_cell if _key(row) in regressed] or names
        devices = choices.some("Devices", names, "devices", most=6, start=start[:3])
    axis = _axis(commits[:count])
    lines = [_line(row, axis) for row in of_cell if row.device in devices]
    if choices.switch("All devices in one chart, as shares of their first", "relative"):
        _show_together(lines, axis)
    else:
        for line in lines:
            _show_series(line, axis)
        st.caption(charts.LEGEND)
    _show_sparks(of_cell, commits)
    short = naming.devices(line.row.device for line in lines)
    cell = naming.cells(of_cell, {})[of_cell[0].cell]
    return timeline.overview(
        f"{naming.heading(of_cell[0].metric)} ({cell})",
        [(short[line.row.device], line.shown) for line in lines],
    )


@dataclass(frozen=True)
class Line:
    """A series, all of its points, and what it measured at the commits shown."""

    row: Newest
    points: Sequence[Point]
    shown: Sequence[Place]


def _key(row: Newest) -> Key:
    return row.cell, row.metric, row.device


def _regressed() -> dict[Key, float]:
    """Return the series with a regression that was not withdrawn, and the change of each."""
    return {
        (one["cell"], one["metric"], one["device"]): one.get("effect", row.effect)
        for row in reversed(ask(queries.regressions))
        if row.state != "withdrawn"
        for one in row.series
    }


def _choose(known: Sequence[Newest], regressed: dict[Key, float]) -> list[Newest]:
    """Let metric and cell be chosen; to begin with, those of the last regression."""
    worst = next((key for key in reversed(regressed) if any(_key(r) == key for r in known)), None)
    left, right = st.columns([1, 2])
    measured = {row.metric for row in known}
    metrics = [name for name in METRICS if name in measured] or sorted(measured)
    with left:
        start = metrics.index(worst[1]) if worst and worst[1] in metrics else 0
        metric = choices.one(
            "Metric", metrics, "metric", show=naming.metric, address=str, start=start
        )
    of_metric = [row for row in known if row.metric == metric]
    names = naming.cells(of_metric, ask(queries.parameters))
    cells = sorted(names, key=lambda cell: names[cell])
    with right:
        start = cells.index(worst[0]) if worst and worst[0] in cells else 0
        cell = choices.one(
            "Cell",
            cells,
            "series",
            show=lambda cell: names.get(cell, cell),
            address=lambda cell: cell[:12],
            start=start,
        )
    return [row for row in of_metric if row.cell == cell]


def _axis(commits: Sequence[Commit]) -> list[Slot]:
    said = ask(queries.descriptions)
    return timeline.slots(
        (
            one.build,
            (one.commit or one.build)[: naming.SHORT_HASH] + ("+changes" if one.dirty else ""),
            naming.commit(one, said, dirty=one.dirty),
        )
        for one in reversed(commits)
    )


def _line(row: Newest, axis: Sequence[Slot]) -> Line:
    points = ask(queries.timeline, (row.series,))
    return Line(row, points, timeline.with_band(timeline.places(points, axis), row.noise))


def _show_series(line: Line, axis: Sequence[Slot]) -> None:
    row, points, shown = line.row, line.points, line.shown
    what = f"{naming.chip(row.device)}, {naming.metric(row.metric)}"
    st.markdown(f"**{plain(timeline.headline(shown, what, row.noise), 300)}**")
    if not shown:
        return
    if slowly := regressions.slowly(ask(queries.regressions), row.cell, row.metric, row.device):
        st.markdown(plain(slowly, 200))
    builds = {slot.build: slot for slot in axis}
    slots = {point.record: builds[point.build] for point in points if point.build in builds}
    raw = [
        (slots[record].position, value, slots[record].label, tables.link(record))
        for record, value in ask(queries.raw_samples, row.series, RAW)
        if record in slots
    ]
    place = list(ask(queries.devices)).index(row.device)
    draw(
        charts.chart,
        shown,
        raw,
        _events(row, points, axis),
        axis,
        row.metric,
        place,
        key=f"chart-{row.series}",
    )
    _tell_environment(points, axis)


def _show_together(lines: Sequence[Line], axis: Sequence[Slot]) -> None:
    shown: list[Place] = []
    happened: list[Event] = []
    said: list[str] = []
    for line in lines:
        row = line.row
        what = f"{naming.chip(row.device)}, {naming.metric(row.metric)}"
        said.append(f"- {plain(timeline.headline(line.shown, what, row.noise), 300)}")
        shown += timeline.relative(line.shown, row.device)
        happened += [e for e in _events(row, line.points, axis) if e.kind in charts.RULES]
    if not shown:
        st.info("Nothing that counts was measured here at these commits.", icon=":material/info:")
        return
    st.markdown("\n".join(said))
    draw(charts.together, shown, list(dict.fromkeys(happened)), axis, ask(queries.devices))
    st.caption(
        "Each device as a share of its figure at the first commit shown; dashed: a regression."
    )


def _tell_environment(points: Sequence[Point], axis: Sequence[Slot]) -> None:
    """Say in words what changed where the line ends: a tooltip is not found on a phone."""
    for event in timeline.environment_changes(points, axis, ask(queries.conditions))[-3:]:
        st.caption(f"At {axis[event.position].commit[:10]}: {plain(event.text, 300)}.")


def _events(row: Newest, points: Sequence[Point], axis: Sequence[Slot]) -> list[Event]:
    by_commit = {slot.commit: slot.position for slot in axis}
    by_build = {slot.build: slot.position for slot in axis}
    found = timeline.environment_changes(points, axis, ask(queries.conditions))
    for regression in ask(queries.regressions):
        mine = any(
            (one["cell"], one["metric"], one["device"]) == _key(row) for one in regression.series
        )
        place = by_commit.get(regression.bad[: timeline.HASH])
        if mine and place is not None:
            how = ", slowly" if regressions.is_slow(regression) else ""
            text = f"{figures.percent(regression.effect)}{how}, {regression.state}"
            found.append(Event(place, "regression", text))
    series = SeriesKey(row.cell, row.device, row.metric)
    for suspect in ask(queries.suspects, series):
        place = by_commit.get(suspect.commit[: timeline.HASH])
        if place is not None:
            answer = "confirmed by the gate" if suspect.changed else "not confirmed by the gate"
            found.append(Event(place, "change point", answer))
    for verdict in ask(queries.verdicts, series):
        if verdict.injected is None and verdict.candidate in by_build:
            text = figures.percent(verdict.effect) if verdict.effect is not None else "no effect"
            found.append(Event(by_build[verdict.candidate], verdict.outcome, text))
    return found


def _show_sparks(rows: Sequence[Newest], commits: Sequence[Commit]) -> None:
    if not rows:
        return
    since = commits[: SPARK + 1][-1].measured
    lines: dict[int, list[float]] = {}
    for point in ask(queries.timeline, tuple(row.series for row in rows), since):
        if point.valid:
            lines.setdefault(point.series, []).append(point.value)
    factor, unit = tables.unit(rows[0].metric, [row.value for row in rows])
    short = naming.devices(row.device for row in rows)
    tables.show(
        [
            {
                "device": short[row.device],
                **tables.figure(row.value, row.low, row.high, factor),
                "noise": row.noise,
                "line": lines.get(row.series, []),
                "record": tables.link(row.record),
            }
            for row in rows
        ],
        figure=st.column_config.NumberColumn(
            f"newest, {naming.title(rows[0].metric, unit)}", format="%.4g"
        ),
        spread=tables.SPREAD,
        noise=st.column_config.NumberColumn(
            format="percent", help="relative standard deviation from point to point"
        ),
        line=st.column_config.LineChartColumn(f"last {SPARK} commits"),
        record=tables.OPEN,
    )
