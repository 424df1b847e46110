"""The gate's measured error rates, the noise of each device, and what was not counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import median

import streamlit as st

from dashboard import tables
from dashboard.analysis import naming, nights, trust
from dashboard.database import ask
from db import queries
from db.queries import GateTally


def page() -> None:
    """Show how often the gate is wrong, what the noise is, and what does not count."""
    st.title("Trust")
    tallies = ask(queries.gate_tallies)
    alike = [tally for tally in tallies if tally.injected == 0]
    slowed = [tally for tally in tallies if tally.injected > 0]
    st.markdown(f"### {trust.headline(alike, slowed)}")
    st.subheader("False alarms: a build against itself")
    if alike:
        _show_tallies(alike, "false alarms")
    else:
        st.info(
            "Never measured here. Run `farm gate HEAD --suite self-aa`.", icon=":material/info:"
        )
    st.subheader("Power: slowdowns that were put in")
    if slowed:
        _show_tallies(slowed, "found")
    else:
        st.info(
            "Never measured here. Run `farm gate HEAD --suite self-power`.", icon=":material/info:"
        )
    _show_noise()
    _show_not_counted()


def _show_tallies(tallies: Sequence[GateTally], word: str) -> None:
    tables.show(
        [
            {
                "metric": naming.metric(tally.metric),
                "injected": tally.injected,
                word: str(trust.rate(tally.regressed, tally.judged - tally.invalid)),
                "inconclusive": tally.inconclusive,
                "invalid": tally.invalid,
                "device": tally.device,
            }
            for tally in tallies
        ],
        injected=tables.PERCENT,
    )


def _show_noise() -> None:
    st.subheader("Noise of each device")
    pooled: dict[tuple[str, str], list[float]] = {}
    for device, metric, noise in ask(queries.noises):
        pooled.setdefault((device, metric), []).append(noise)
    if not pooled:
        st.info(
            "Noise needs five records of one series: run `farm nightly` some nights.",
            icon=":material/info:",
        )
        return
    tables.show(
        [
            {
                "metric": naming.metric(metric),
                "median noise": median(found),
                "worst noise": max(found),
                "series": len(found),
                "device": device,
            }
            for (device, metric), found in sorted(pooled.items())
        ],
        median_noise=tables.PERCENT,
        worst_noise=tables.PERCENT,
    )
    st.caption("Relative standard deviation from one record of a series to the next.")


def _show_not_counted() -> None:
    st.subheader("What was not counted")
    troubles, counted = ask(queries.troubles), ask(queries.counted_records)
    if not counted.ours:
        st.info("This farm has no record yet. Run `farm run`.", icon=":material/info:")
        return
    if not troubles:
        st.success("Every record counts.", icon=":material/check:")
        return
    records = "1 record" if len(troubles) == 1 else f"{len(troubles)} records"
    newest = "The newest " if len(troubles) >= queries.MOST_TROUBLES else ""
    apart = f" ({counted.imported} imported ones are not looked at)" if counted.imported else ""
    st.markdown(
        f"{newest}{records} that failed or do not count, of {counted.ours} of this farm{apart}:"
    )
    reasons = Counter(
        (kind, trouble.device) for trouble in troubles for kind in set(nights.kinds_of(trouble))
    )
    tables.show(
        [
            {"reason": kind, "records": count, "device": device}
            for (kind, device), count in reasons.most_common()
        ]
    )


if __name__ == "__main__":
    page()
