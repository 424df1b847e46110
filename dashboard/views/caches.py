"""Speed, memory and quality of each cache against fp16 of the same device."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard import choices, emptiness
from dashboard.analysis import figures, trade_offs
from dashboard.charts.drawing import draw
from dashboard.database import ask
from db import queries

SPEEDS = ("generation_tps", "prompt_tps")
MEMORY_AND_QUALITY = ("kv_bytes", "kl_divergence", "top1_agreement")
WORST_KL = 0.02


def share_with_spread(share: float, spread: float) -> str:
    """Write a share of fp16 with its uncertainty: ``93.2 ± 0.4 %``."""
    low, high = 100 * (share - spread), 100 * (share + spread)
    return f"{figures.with_spread(100 * share, low, high)} %"


st.title("Caches")
known = ask(queries.newest, (*SPEEDS, *MEMORY_AND_QUALITY))
fast = [row for row in known if row.metric in SPEEDS and row.model]
if not fast:
    emptiness.stop("No cache was timed yet. Run `farm run --suite default`.")
one, two, three, four = st.columns(4)
with one:
    device = choices.one("Device", sorted({row.device for row in fast}), "device")
with two:
    models = sorted({row.model or "" for row in fast if row.device == device})
    model = choices.one("Model", models, "model")
here = [row for row in known if row.device == device and row.model == model]
with three:
    speeds = [name for name in SPEEDS if name in {row.metric for row in here}]
    speed = choices.one("Speed", speeds, "speed")
rows = trade_offs.trade_offs(here, speed)
if not rows:
    st.info(
        "fp16 was not measured beside these caches, and there is nothing to compare with. "
        "Run a suite with an fp16 cache, such as `farm run --suite default`.",
        icon=":material/info:",
    )
    st.stop()
with four:
    contexts = sorted({row.context for row in rows})
    context = choices.one("Context", contexts, "context", show=figures.context)
worst_kl = st.slider(
    "Highest KL divergence that still counts as the same model (nats)",
    0.001,
    0.2,
    WORST_KL,
    0.001,
    format="%.3f",
    key="worst_kl",
    bind="query-params",
)
at_context = [row for row in rows if row.context == context]
drawn = [row for row in at_context if row.memory is not None]
if drawn:
    draw(trade_offs.chart, drawn, worst_kl)
    st.caption("The dashed line is the Pareto front. Crossed out: too far from fp16's answers.")
else:
    st.info("KV memory was not measured here. Run `farm run --suite default`.")
best = trade_offs.front(at_context, worst_kl)
table = pd.DataFrame(
    [
        {
            "cache": row.name,
            "verdict": trade_offs.verdict(row, worst_kl),
            "speed": share_with_spread(row.speed, row.spread),
            "KV memory": row.memory,
            "KL divergence (nats)": row.kl_divergence,
            "top-1 agreement": row.top1_agreement,
            "front": row in best,
        }
        for row in at_context
    ]
)
share = st.column_config.NumberColumn(format="percent")
st.dataframe(
    table,
    hide_index=True,
    column_config={
        "KV memory": share,
        "top-1 agreement": share,
        "KL divergence (nats)": st.column_config.NumberColumn(format="%.4f"),
    },
)
elsewhere: dict[tuple[str, ...], list[str]] = {}
for row in at_context:
    elsewhere.setdefault(row.elsewhere, []).append(f"`{row.name}`")
for places, caches in elsewhere.items():
    if places:
        st.caption(f"Measured at another context: {', '.join(places)}, of {', '.join(caches)}.")
