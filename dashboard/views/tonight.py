"""What ran, what is running, what broke, and on which machine."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pandas as pd
import streamlit as st

from dashboard.analysis import figures
from dashboard.analysis.validity import told
from dashboard.database import ask
from db import queries, verdicts
from db.queries import HostState, RunSummary
from db.verdicts import RegressionRow
from worker.machine.reasons import Reason

NIGHT = 12 * 3600.0  # seconds: runs that started within this of the newest belong to its night
SILENT = 36 * 3600.0  # seconds without a record after which the farm itself is an alarm
STALLED = 3600.0
LIVE = 5.0


def clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def ago(seconds: float) -> str:
    """Write an age: ``5 min``, ``3 h``, ``9 days``."""
    for size, unit in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


@st.fragment(run_every=LIVE)
def show_running() -> None:
    """Show the runs under way, again every few seconds."""
    hosts = ask(queries.hosts)
    quiet = time.time() - max((host.started for host in hosts), default=0.0)
    running = [run for run in ask(queries.runs, 20) if run.records < run.jobs]
    for run in running:
        share = run.records / run.jobs if run.jobs else 0.0
        st.progress(share, f"{run.id} ({run.suite}): {run.records} of {run.jobs} jobs")
    if running and quiet > STALLED:
        st.warning(
            f"Nothing came for {ago(quiet)}. If no `farm run` is at work, continue with "
            "`farm run --resume`.",
            icon=":material/hourglass_disabled:",
        )
    if not running:
        st.caption("Nothing is running.")


def show_counts(
    runs: Sequence[RunSummary], troubles: int, regressions: Sequence[RegressionRow]
) -> None:
    jobs, records = sum(run.jobs for run in runs), sum(run.records for run in runs)
    failed = sum(run.failed for run in runs)
    columns = st.columns(4)
    columns[0].metric("Jobs done", f"{records} of {jobs}")
    columns[1].metric("Failed", failed)
    columns[2].metric("Invalid", troubles - failed)
    columns[3].metric("Open regressions", len(regressions))


def show_regressions(rows: Sequence[RegressionRow], since: float) -> None:
    st.dataframe(
        pd.DataFrame(
            [
                {
                    "new": row.found >= since,
                    "commit": row.culprit[:10]
                    if row.culprit
                    else f"{row.good[:10]}..{row.bad[:10]}",
                    "change": row.effect,
                    "confidence": row.confidence,
                    "found": clock(row.found),
                    "series": len(row.series),
                    "devices": ", ".join(sorted({one["device"] for one in row.series})),
                }
                for row in rows
            ]
        ),
        hide_index=True,
        column_config={
            "change": st.column_config.NumberColumn(format="percent"),
            "confidence": st.column_config.NumberColumn(format="percent"),
        },
    )
    st.page_link(
        "views/commits.py",
        label="Look at them, acknowledge them",
        icon=":material/timeline:",
        query_params={"view": "Regressions"},
    )


def readiness(not_ready: Sequence[Reason] | None) -> str:
    """Say whether a host was ready for its last record; only Macs wait until they are."""
    if not_ready is None:
        return "not asked"
    return told(not_ready) or "yes"


def known(facts: Mapping[str, Any], *names: str) -> list[str]:
    """Return the facts of these names that a host told, or that none is known."""
    return [str(facts[name]) for name in names if name in facts] or ["unknown"]


def show_hosts(hosts: Sequence[HostState], now: float) -> None:
    st.dataframe(
        pd.DataFrame(
            [
                {
                    "host": host.host,
                    "device": host.device,
                    "last record": f"{ago(now - host.started)} ago",
                    "state": told(host.invalid) or host.status,
                    "ready": readiness(host.not_ready),
                    "power": ", ".join(known(host.facts, "power_source", "power_mode")),
                    "thermal": ", ".join(known(host.facts, "thermal_level")),
                    "GPU (MHz)": ", ".join(known(host.facts, "gpu_clock")),
                    "record": f"/run?record={host.record}",
                }
                for host in hosts
            ]
        ),
        hide_index=True,
        column_config={"record": st.column_config.LinkColumn(display_text="open")},
    )


def show_troubles(since: float) -> None:
    table = [
        {
            "why": trouble.why,
            "state": "failed" if trouble.status == "failed" else "invalid",
            "host": trouble.host,
            "benchmark": trouble.benchmark,
            "cache": trouble.cache,
            "context": figures.context(trouble.context),
            "record": f"/run?record={trouble.record}",
        }
        for trouble in ask(queries.troubles, since)
    ]
    if table:
        st.dataframe(
            pd.DataFrame(table),
            hide_index=True,
            column_config={"record": st.column_config.LinkColumn(display_text="open")},
        )
    else:
        st.success("Nothing failed, everything counts.", icon=":material/check:")


st.title("Tonight")
newest = ask(queries.runs, 20)
if not newest:
    st.info("No run yet. Start one with `farm run`.", icon=":material/info:")
    st.stop()
since = newest[0].started - NIGHT
tonight = [run for run in newest if run.started >= since]
hosts = ask(queries.hosts)
now = time.time()
last = max((host.started for host in hosts), default=newest[0].started)
st.caption(f"Runs: {len(tonight)}, since {clock(tonight[-1].started)}")
if now - last > SILENT:
    st.warning(
        f"The farm is silent: the last record came {ago(now - last)} ago. Is `farm nightly` still "
        "scheduled?",
        icon=":material/notifications_off:",
    )
regressions = [row for row in ask(verdicts.regressions) if row.state == "open"]
show_counts(tonight, len(ask(queries.troubles, since)), regressions)
show_running()
st.subheader("Regressions")
if regressions:
    show_regressions(regressions, since)
else:
    st.success("No regression is open.", icon=":material/check:")
st.subheader("What failed or does not count")
show_troubles(since)
st.subheader("Hosts")
show_hosts(hosts, now)
