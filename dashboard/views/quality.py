"""How far each cache is from fp16 of the same host: divergence, agreement, needles."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from dashboard import choices, emptiness
from dashboard.analysis import figures, quality
from dashboard.charts.drawing import draw
from dashboard.database import ask
from db import queries
from worker.metrics import METRICS

SHOWN = ("kl_divergence", "top1_agreement", "logit_cosine", "greedy_prefix", "perplexity")
NEEDLE = "needle_accuracy"

st.title("Quality")
known = [row for row in ask(queries.newest, (*SHOWN, NEEDLE)) if row.model]
if not known:
    emptiness.stop("Quality was not measured yet. Run `farm run --suite default`.")
left, right = st.columns(2)
with left:
    device = choices.one("Device", sorted({row.device for row in known}), "device")
with right:
    models = sorted({row.model or "" for row in known if row.device == device})
    model = choices.one("Model", models, "model")
rows = [row for row in known if row.device == device and row.model == model]
st.caption("Always against fp16 of the same device: other chips round differently.")
for metric in SHOWN[:2] + SHOWN[4:]:
    of_metric = [row for row in rows if row.metric == metric]
    if not of_metric:
        st.info(f"No {metric} here. Run `farm run --suite default`.", icon=":material/info:")
        continue
    scores = [
        quality.Score(row.cache or "none", figures.context(row.context), row.value)
        for row in of_metric
    ]
    st.subheader(metric.replace("_", " "))
    st.caption(f"{METRICS[metric].description}; {METRICS[metric].better} is better")
    draw(quality.by_cache, scores, metric)
st.subheader("Needles")
cells = {
    row.record: (row.cache or "none", row.context)
    for row in rows
    if row.metric == NEEDLE and row.context
}
needles = quality.needles(ask(queries.scores_by_label, tuple(cells), NEEDLE), cells)
if needles:
    caches = list(dict.fromkeys(row.cache for row in needles))
    cache = choices.one("Cache", caches, "cache")
    draw(quality.heat_map, [row for row in needles if row.cache == cache])
else:
    st.info("No needles here. Run `farm run --suite default`.", icon=":material/info:")
st.subheader("All figures")
table = pd.DataFrame(
    [
        {
            "metric": row.metric,
            "cache": row.cache,
            "context": row.context,
            "value": row.value,
            "record": f"/run?record={row.record}",
        }
        for row in rows
    ]
)
st.dataframe(
    table,
    hide_index=True,
    column_config={
        "value": st.column_config.NumberColumn(format="%.4g"),
        "record": st.column_config.LinkColumn(display_text="open"),
    },
)
