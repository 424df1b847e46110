"""Any benchmark side by side over devices, ranked only where conditions agree."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from dashboard import choices, emptiness
from dashboard.analysis import comparability, figures
from dashboard.charts import marks as charts
from dashboard.charts.drawing import draw
from dashboard.database import ask
from db import queries
from db.queries import Newest, Published
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


def reference_marks(rows: Sequence[Published]) -> list[charts.Mark]:
    """Return what is drawn of published figures: those that say their context."""
    return [
        charts.Mark(
            f"{row.device} (published: {row.source})",
            row.context,
            row.value,
            row.value,
            row.value,
            published=True,
        )
        for row in rows
        if row.context and is_drawn(row)
    ]


def show_published(rows: Sequence[Published]) -> None:
    """Say what the hollow points are, and what was published but has no place among them."""
    if any(map(is_drawn, rows)):
        st.caption("Hollow points are published figures, measured by others elsewhere.")
    for row in rows:
        if not is_drawn(row):
            place = f" at {figures.context(row.context)}" if row.context else ""
            note = f", {row.note}" if row.note else ""
            st.caption(
                f"Published: {published_text(row)}{place} on {row.device} ({row.source}{note})."
            )


def is_drawn(row: Published) -> bool:
    return row.kind == "figure" and row.context is not None


def published_text(row: Published) -> str:
    if row.kind == "ratio":
        return f"{row.value:.2f} of fp16"
    text = figures.shown(row.metric, row.value, row.value, row.value)
    return text if row.kind == "figure" else f"{row.kind} {text}"


def show_group(rows: Sequence[Newest], metric: str, reference: list[charts.Mark]) -> None:
    measured = marks(rows)
    if measured:
        draw(charts.by_context, measured + reference, metric)
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
reference = [
    row
    for row in ask(queries.published)
    if (row.metric, row.model, row.cache) == (metric, model, cache)
]
for group in groups:
    rows = comparability.members(group, chosen)
    if refusal:
        st.subheader(", ".join(sorted({row.device for row in rows})))
    show_group(rows, metric, reference_marks(reference))
show_published(reference)
