"""How far each cache is from fp16 of the same host: divergence, agreement, needles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from dashboard import builds, choices, emptiness, tables
from dashboard.analysis import figures, naming, quality
from dashboard.charts import quality as charts
from dashboard.charts.drawing import draw
from dashboard.database import ask
from dashboard.plain import plain
from db import queries
from db.queries import Figure
from worker.metrics import METRICS

DRAWN = ("kl_divergence", "top1_agreement", "perplexity")
# What the default suite does not measure, and the command that does.
MEASURED_BY = {"perplexity": "farm run --suite reference"}
NEEDLE = "needle_accuracy"
SHOWN = (*DRAWN, "logit_cosine", "greedy_prefix", NEEDLE, "needle_agreement")


def page() -> None:
    """Show every score of quality of one device and model, at one build."""
    st.title("Quality")
    top = st.container()
    build = builds.choose(SHOWN)
    own = ask(queries.figures, build.build) if build else ()
    known = [row for row in own if row.metric in SHOWN and row.model]
    if not known:
        emptiness.tell("No quality of a cache counts yet. Run `farm run`.")
        return
    left, right = st.columns(2)
    with left:
        device = choices.one("Device", sorted({row.device for row in known}), "device")
    with right:
        models = list(dict.fromkeys(row.model for row in known if row.device == device))
        model = choices.one("Model", models, "model", show=str)
    rows = _measured_alike([row for row in known if (row.device, row.model) == (device, model)])
    top.markdown(f"### {plain(quality.headline(rows), 500)}")
    st.caption("Always against fp16 of the same device: other chips round differently.")
    for metric in DRAWN:
        _show_metric([row for row in rows if row.metric == metric], metric)
    _show_needles(rows)
    _show_all(rows, ask(queries.suspicions, build.build) if build else {})


def _measured_alike(rows: Sequence[Figure]) -> list[Figure]:
    """Keep of each metric the commonest way to measure it, so that no two cells share a name."""
    found = []
    left_out = 0
    for metric in dict.fromkeys(row.metric for row in rows):
        ways = list(naming.variants(row for row in rows if row.metric == metric).values())
        found += naming.newest(ways[0])
        left_out += sum(map(len, ways[1:]))
    if left_out:
        st.caption(f"{left_out} figures with other parameters are not shown; Devices has them.")
    return found


def _show_metric(rows: Sequence[Figure], metric: str) -> None:
    if not rows:
        run = MEASURED_BY.get(metric, "farm run")
        st.info(f"No {naming.metric(metric)} here. Run `{run}`.", icon=":material/info:")
        return
    scores = [
        quality.Score(naming.cache(row.cache), figures.context(row.context), row.value)
        for row in rows
    ]
    st.subheader(naming.heading(metric))
    st.caption(f"{METRICS[metric].description}; {METRICS[metric].better} is better")
    draw(charts.by_cache, scores, metric)


def _show_needles(rows: Sequence[Figure]) -> None:
    st.subheader("Needles")
    cells = {
        row.record: (row.cache or "none", row.context)
        for row in rows
        if row.metric == NEEDLE and row.context
    }
    needles = quality.needles(ask(queries.scores_by_label, tuple(cells), NEEDLE), cells)
    if not needles:
        st.info("No needles here. Run `farm run`.", icon=":material/info:")
        return
    caches = list(dict.fromkeys(row.cache for row in needles))
    # The one that loses the most first: where fp16 finds all, its map says nothing.
    start = caches.index(min(needles, key=lambda row: row.found).cache)
    cache = choices.one("Cache", caches, "cache", show=naming.cache, address=str, start=start)
    draw(charts.heat_map, [row for row in needles if row.cache == cache])


def _show_all(rows: Sequence[Figure], doubts: Mapping[int, tuple[str, ...]]) -> None:
    st.subheader("All figures")
    tables.show(
        [
            {
                "metric": naming.metric(row.metric),
                "value": row.value,
                "context": row.context,
                "cache": naming.cache(row.cache),
                "suspicious": "; ".join(doubts.get(row.record, ())),
                "record": tables.link(row.record),
            }
            for row in rows
        ],
        value=tables.FIGURE,
        record=tables.OPEN,
    )


if __name__ == "__main__":
    page()
