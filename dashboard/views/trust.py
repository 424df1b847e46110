"""The gate's measured error rates, the noise of each device, and what was not counted."""

from __future__ import annotations

from collections import Counter
from statistics import median

import pandas as pd
import streamlit as st

from dashboard.analysis import trust
from dashboard.database import ask
from db import queries
from db.queries import GateTally

PROMISE = 0.005  # of the gate: at most this share of false alarms on identical code


def show_tallies(tallies: list[GateTally], word: str) -> None:
    st.dataframe(
        pd.DataFrame(
            [
                {
                    "device": tally.device,
                    "metric": tally.metric,
                    "injected": tally.injected,
                    word: str(trust.rate(tally.regressed, tally.judged - tally.invalid)),
                    "inconclusive": tally.inconclusive,
                    "invalid": tally.invalid,
                }
                for tally in tallies
            ]
        ),
        hide_index=True,
        column_config={"injected": st.column_config.NumberColumn(format="percent")},
    )


st.title("Trust")
tallies = ask(queries.gate_tallies)
alike = [tally for tally in tallies if tally.injected == 0]
slowed = [tally for tally in tallies if tally.injected > 0]
st.subheader("False alarms: a build against itself")
if alike:
    judged = sum(tally.judged - tally.invalid for tally in alike)
    all_together = trust.rate(sum(tally.regressed for tally in alike), judged)
    st.metric("False alarms, all devices", str(all_together))
    if all_together.low > PROMISE:
        st.warning(
            f"More than the promised {PROMISE:.1%}: take the gate's verdicts as advice.",
            icon=":material/gavel:",
        )
    show_tallies(alike, "false alarms")
else:
    st.info(
        "Never measured here. Run `farm gate HEAD --suite self-aa`.",
        icon=":material/info:",
    )
st.subheader("Power: slowdowns that were put in")
if slowed:
    show_tallies(slowed, "found")
else:
    st.info("Never measured here. Run `farm gate HEAD --suite self-power`.", icon=":material/info:")
st.subheader("Noise of each device")
noises = ask(queries.noises)
if noises:
    pooled: dict[tuple[str, str], list[float]] = {}
    for device, metric, noise in noises:
        pooled.setdefault((device, metric), []).append(noise)
    st.dataframe(
        pd.DataFrame(
            [
                {
                    "device": device,
                    "metric": metric,
                    "median noise": median(found),
                    "worst noise": max(found),
                    "series": len(found),
                }
                for (device, metric), found in sorted(pooled.items())
            ]
        ),
        hide_index=True,
        column_config={
            "median noise": st.column_config.NumberColumn(format="percent"),
            "worst noise": st.column_config.NumberColumn(format="percent"),
        },
    )
    st.caption("Relative standard deviation from one record of a series to the next.")
else:
    st.info(
        "Noise needs five records of one series: run `farm nightly` some nights.",
        icon=":material/info:",
    )
st.subheader("What was not counted")
troubles = ask(queries.troubles)
if troubles:
    st.markdown(
        f"{len(troubles)} records failed or were judged invalid (the newest 500 at most), of "
        f"{ask(queries.counted_records)} in all:"
    )
    reasons = Counter((trouble.why, trouble.device) for trouble in troubles)
    st.dataframe(
        pd.DataFrame(
            [
                {"why": why, "device": device, "records": count}
                for (why, device), count in reasons.most_common()
            ]
        ),
        hide_index=True,
    )
else:
    st.success("Every record counts.", icon=":material/check:")
