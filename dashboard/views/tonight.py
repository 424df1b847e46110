"""What ran, what is running, what broke, and on which machine."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from dashboard import tables
from dashboard.analysis import figures, naming, nights, regressions
from dashboard.analysis.nights import Coverage
from dashboard.analysis.validity import told
from dashboard.database import ask
from dashboard.plain import plain
from db import queries
from db.queries import HostState, RegressionRow, RunSummary
from worker.machine.reasons import KINDS, Reason

NIGHT = 12 * 3600.0  # seconds: runs that started within this of the newest belong to its night
SILENT = 36 * 3600.0  # seconds without a record after which the farm itself is an alarm
STALLED = 3600.0
LOOK = "open its record below, which says why"
LIVE = 5.0


def page() -> None:
    """Show this farm's last night, and what others sent apart from it."""
    st.title("Tonight")
    known = ask(queries.runs, 50)
    ours = [run for run in known if run.origin is None]
    if ours:
        _show_night()
    else:
        st.info("No run of this farm yet. Start one with `farm run`.", icon=":material/info:")
        published = ask(queries.published)
        st.markdown(
            f"Until then, {len(published)} published figures can be read: "
            "[side by side over devices](devices), [against bandwidth](bandwidth)."
        )
    _show_imported([run for run in known if run.origin is not None])


@st.fragment(run_every=LIVE)
def _show_night() -> None:
    """Show the night, again every few seconds: nothing here is asked anew unless it changed."""
    ours = [run for run in ask(queries.runs, 50) if run.origin is None]
    since = ours[0].started - NIGHT
    tonight = [run for run in ours if run.started >= since]
    hosts = [ask(queries.host_state, number) for number in ask(queries.last_records)]
    open_ones = [row for row in ask(queries.regressions) if row.state == "open"]
    troubles = ask(queries.troubles, since)
    reasons = nights.kinds(troubles)
    states = tuple(state for run in tonight for state in ask(queries.job_states, run.id))
    covered = nights.coverage(states, min(run.started for run in tonight))
    running = [run for run in tonight if run.records < run.jobs]
    st.markdown(
        f"### {plain(nights.headline(covered, reasons, len(open_ones), len(running)), 400)}"
    )
    st.caption(f"Runs: {len(tonight)}, since {naming.clock(tonight[-1].started)}")
    _warn_of_silence(ours, hosts)
    _show_running(running, hosts)
    _show_counts(covered, len(troubles), len(open_ones))
    _show_regressions(open_ones, since)
    _show_troubles(since, reasons)
    st.subheader("Hosts")
    _show_hosts(hosts)


def _warn_of_silence(ours: Sequence[RunSummary], hosts: Sequence[HostState]) -> None:
    quiet = time.time() - max((host.started for host in hosts), default=ours[0].started)
    if quiet > SILENT:
        st.warning(
            f"The farm is silent: its last record came {naming.ago(quiet)} ago. Is `farm nightly` "
            "still scheduled?",
            icon=":material/notifications_off:",
        )


def _show_running(running: Sequence[RunSummary], hosts: Sequence[HostState]) -> None:
    """Show each run under way: how far, how long still, and its newest figures."""
    if not running:
        st.caption("Nothing is running.")
        return
    quiet = time.time() - max((host.started for host in hosts), default=0.0)
    for run in running:
        covered = nights.coverage(ask(queries.job_states, run.id), run.started)
        left = f", about {naming.ago(covered.left)} left" if covered.left is not None else ""
        st.progress(
            covered.done / covered.jobs if covered.jobs else 0.0,
            f"{plain(run.id)} ({plain(run.suite)}): {covered.done} of {covered.jobs} jobs{left}; "
            f"{covered.counted} of {covered.cells} cells have a figure",
        )
        _show_arrivals(run)
    if quiet > STALLED:
        st.warning(
            f"Nothing came for {naming.ago(quiet)}. If no `farm run` is at work, continue with "
            "`farm run --resume`.",
            icon=":material/hourglass_disabled:",
        )


def _show_arrivals(run: RunSummary) -> None:
    rows = [
        {
            "figure": figures.shown(one.metric, one.value, one.low, one.high),
            "counts": one.valid,
            "metric": naming.metric(one.metric),
            "context": figures.context(one.context),
            "cache": naming.cache(one.cache),
            "host": one.host,
            "record": tables.link(one.record),
        }
        for one in ask(queries.arrivals, run.id)
    ]
    if rows:
        tables.show(rows, record=tables.OPEN)


def _show_counts(covered: Coverage, troubles: int, regressed: int) -> None:
    columns = st.columns(4)
    columns[0].metric("Cells with a figure", f"{covered.counted} of {covered.cells}")
    columns[1].metric("Jobs done", f"{covered.done} of {covered.jobs}")
    columns[2].metric("Records that do not count", troubles)
    columns[3].metric("Open regressions", regressed)


def _show_regressions(rows: Sequence[RegressionRow], since: float) -> None:
    st.subheader("Regressions")
    if not rows:
        st.success("No regression is open.", icon=":material/check:")
        return
    said = ask(queries.descriptions)
    for row in rows[:5]:
        affected = ask(queries.affected, row.id) if row.id is not None else ()
        new = "New: " if row.found >= since else ""
        st.markdown(f"- {new}{plain(regressions.headline(row, affected, said), 600)}")
    st.page_link(
        "views/commits.py",
        label="Their evidence, and their acknowledgement",
        icon=":material/timeline:",
        query_params={"view": "Regressions"},
    )


def _show_troubles(since: float, reasons: Sequence[tuple[str, int]]) -> None:
    st.subheader("What failed or does not count")
    troubles = ask(queries.troubles, since)
    if not troubles:
        st.success("Nothing failed, everything counts.", icon=":material/check:")
        return
    tables.show(
        [
            {
                "records": count,
                "reason": kind,
                "to do": KINDS[kind].remedy if kind in KINDS else LOOK,
            }
            for kind, count in reasons
        ]
    )
    with st.expander(
        "The record" if len(troubles) == 1 else f"Each of the {len(troubles)} records"
    ):
        tables.show(
            [
                {
                    "record": tables.link(trouble.record),
                    "state": "failed" if trouble.status == "failed" else "not counted",
                    "why": trouble.why,
                    "host": trouble.host,
                    "benchmark": trouble.benchmark,
                    "cache": trouble.cache,
                    "context": figures.context(trouble.context),
                }
                for trouble in troubles
            ],
            record=tables.OPEN,
        )


def _readiness(not_ready: Sequence[Reason] | None) -> str:
    """Say whether a host was ready for its last record; only Macs wait until they are."""
    if not_ready is None:
        return "not asked"
    return told(not_ready) or "yes"


def _known(facts: Mapping[str, Any], *names: str) -> str:
    """Return the facts of these names that a host told, or that none is known."""
    return ", ".join(str(facts[name]) for name in names if name in facts) or "unknown"


def _show_hosts(hosts: Sequence[HostState]) -> None:
    now = time.time()
    tables.show(
        [
            {
                "host": host.host,
                "last record": f"{naming.ago(now - host.started)} ago",
                "ready": _readiness(host.not_ready),
                "state": told(host.invalid) or host.status,
                "power": _known(host.facts, "power_source", "power_mode"),
                "thermal": _known(host.facts, "thermal_level"),
                "GPU (MHz)": _known(host.facts, "gpu_clock"),
                "device": host.device,
                "record": tables.link(host.record),
            }
            for host in hosts
        ],
        record=tables.OPEN,
    )


def _show_imported(runs: Sequence[RunSummary]) -> None:
    """List what others measured: it never counts for this farm's nights and alarms."""
    if not runs:
        return
    st.subheader("From others")
    tables.show(
        [
            {
                "records": run.records,
                "from": run.origin,
                "run": run.id,
                "started": naming.clock(run.started),
            }
            for run in runs
        ]
    )


if __name__ == "__main__":
    page()
