"""Any benchmark side by side over devices, ranked only where conditions agree."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from dashboard import charts, choices, comparability, emptiness, figures
from dashboard.database import ask
from dashboard.drawing import draw
from db import queries
from db.queries import Newest
from worker.metrics import METRICS

NO_MODEL = "none"


def ranking(rows: Sequence[Newest], metric: str) -> pd.DataFrame:
    """Return a table of comparable rows, the best device of each cell first."""
    better = METRICS[metric].better
    sign = -1 if better == "higher" else 1
    table = []
    for row in sorted(rows, key=lambda r: (r.context or 0, r.cache or "", sign * r.value)):
        rivals = [r.value for r in rows if r.cell == row.cell]
        best = max(rivals) if better == "higher" else min(rivals)
        table.append(
            {
                "context": figures.context(row.context),
                "cache": row.cache or "none",
                "device": row.device,
                metric: figures.shown(metric, row.value, row.low, row.high),
                "of best": row.value / best if best else None,
                "commit": (row.commit or row.build)[:10],
                "record": f"/run?record={row.record}",
            }
        )
    return pd.DataFrame(table)


def marks(rows: Sequence[Newest]) -> list[charts.Mark]:
    """Return what is drawn of measured rows: a line for each device."""
    return [
        charts.Mark(row.device, row.context, row.value, row.low, row.high)
        for row in rows
        if row.context
    ]


def reference_marks(metric: str, model: str, cache: str | None) -> list[charts.Mark]:
    """Return the published figures of the same metric, model and cache, on any device."""
    return [
        charts.Mark(
            f"{row.device} (published: {row.source})",
            row.context,
            row.value,
            row.value,
            row.value,
            published=True,
        )
        for row in queries.published()
        if (row.metric, row.model, row.cache) == (metric, model, cache)
    ]


def show_group(rows: Sequence[Newest], metric: str, reference: list[charts.Mark]) -> None:
    measured = marks(rows)
    if measured:
        draw(charts.by_context, measured + reference, metric)
        if reference:
            st.caption("Hollow points are published figures, measured by others elsewhere.")
    st.dataframe(
        ranking(rows, metric),
        hide_index=True,
        column_config={
            "of best": st.column_config.ProgressColumn(format="percent", min_value=0, max_value=1),
            "record": st.column_config.LinkColumn(display_text="open"),
        },
    )


st.title("Devices")
known = ask(queries.newest)
if not known:
    emptiness.stop("No figure yet. Measure this machine with `farm run`.")
left, middle, right = st.columns(3)
with left:
    measured = {row.metric for row in known}
    metric = choices.one("Metric", [name for name in METRICS if name in measured], "metric")
    st.caption(f"{METRICS[metric].description}; {METRICS[metric].better} is better")
of_metric = [row for row in known if row.metric == metric]
with middle:
    model = choices.one("Model", sorted({row.model or NO_MODEL for row in of_metric}), "model")
of_model = [row for row in of_metric if (row.model or NO_MODEL) == model]
with right:
    caches = sorted({row.cache for row in of_model if row.cache})
    cache = choices.one("Cache", caches, "cache") if caches else None
devices = choices.some("Devices", sorted({row.device for row in of_model}), "devices")
chosen = [row for row in of_model if row.cache == cache and row.device in devices]
if not chosen:
    st.info("Choose at least one device.", icon=":material/info:")
    st.stop()
groups = comparability.groups(ask(queries.conditions), [row.comparison_key for row in chosen])
refusal = comparability.refusal(groups)
if refusal:
    st.warning(refusal, icon=":material/rule:")
reference = reference_marks(metric, model, cache)
for group in groups:
    rows = comparability.members(group, chosen)
    if refusal:
        st.subheader(", ".join(sorted({row.device for row in rows})))
    show_group(rows, metric, reference)
