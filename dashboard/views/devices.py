"""Any benchmark side by side over devices, ranked only where conditions agree."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from dashboard import beside, builds, choices, emptiness, tables
from dashboard.analysis import comparability, devices, naming, readings
from dashboard.analysis.comparability import Group
from dashboard.analysis.readings import Reading
from dashboard.bandwidths import bandwidths
from dashboard.charts import marks as charts
from dashboard.charts.drawing import draw
from dashboard.database import ask
from dashboard.plain import plain
from db import queries
from db.queries import Figure, Published
from worker.metrics import METRICS

NO_MODEL = "none"
FIRST = "generation_tps"


def page() -> None:
    """Show one metric of one cache over devices and contexts, at one build."""
    st.title("Devices")
    top = st.container()
    build = builds.choose(())
    own = ask(queries.figures_by_host, build.build) if build else ()
    published = ask(queries.published)
    if not own:
        emptiness.tell(
            "No figure of yours yet: what others published is below. Measure this machine with "
            "`farm run`."
        )
    elif not any(METRICS[row.metric].kind == "speed" for row in own):
        emptiness.tell("No speed counts at this build: what is not spoiled by that is below.")
    metric = _metric(own, published)
    model, cache = _model_and_cache(
        [row for row in own if row.metric == metric],
        [row for row in published if row.metric == metric],
    )
    chosen = _variant([row for row in own if _is_of(row, metric, model, cache)])
    reference = [row for row in published if _is_of(row, metric, model, cache)]
    shown = _chosen_devices(chosen)
    theirs = readings.published(reference)
    suspicions = ask(queries.suspicions, build.build) if build else {}
    mine = readings.measured(shown, suspicions)
    groups = comparability.groups(ask(queries.conditions), [row.key for row in mine if row.key])
    alike = [row for row in mine if groups and row.key in groups[0].keys]
    said = devices.headline(alike or theirs, metric, cache, bandwidths())
    top.markdown(f"### {plain(said, 500)}")
    _show_groups(groups, mine, theirs, metric)
    beside.show(reference, own)


def _is_of(row: Figure | Published, metric: str, model: str, cache: str | None) -> bool:
    return (row.metric, row.model or NO_MODEL, row.cache) == (metric, model, cache)


def _metric(own: Sequence[Figure], published: Sequence[Published]) -> str:
    measured = {row.metric for row in own} or {row.metric for row in published}
    names = [name for name in METRICS if name in measured]
    start = names.index(FIRST) if FIRST in names else 0
    metric = choices.one("Metric", names, "metric", show=naming.metric, address=str, start=start)
    st.caption(f"{METRICS[metric].description}; {METRICS[metric].better} is better (`{metric}`)")
    return metric


def _model_and_cache(
    own: Sequence[Figure], published: Sequence[Published]
) -> tuple[str, str | None]:
    left, right = st.columns(2)
    rows: list[Figure | Published] = [*own, *published]
    with left:
        # What was measured here first.
        models = list(dict.fromkeys(row.model or NO_MODEL for row in rows))
        model = choices.one("Model", models, "model")
    with right:
        caches = sorted(
            {row.cache for row in rows if (row.model or NO_MODEL) == model and row.cache}
        )
        start = caches.index("fp16") if "fp16" in caches else 0
        cache = (
            choices.one("Cache", caches, "cache", show=naming.cache, address=str, start=start)
            if caches
            else None
        )
    return model, cache


def _variant(rows: Sequence[Figure]) -> list[Figure]:
    """Let one of several ways to measure be chosen: they are not the same cell."""
    found = naming.variants(rows)
    if not found:
        return []
    name = next(iter(found))
    if len(found) > 1:
        name = choices.one("Measured as", list(found), "variant")
    return naming.newest_by_host(found[name])


def _chosen_devices(rows: Sequence[Figure]) -> list[Figure]:
    if not rows:
        return []
    known = sorted({row.device for row in rows})
    ours = [device for device in known if any(r.device == device and not r.origin for r in rows)]
    shown = choices.some("Devices", known, "devices", start=ours or known)
    runs = {row.run for row in rows if row.device in shown}
    if len(runs) > 1:
        st.caption(f"Measured in {len(runs)} runs of this build.")
    return [row for row in rows if row.device in shown]


def _show_groups(
    groups: Sequence[Group], mine: Sequence[Reading], theirs: Sequence[Reading], metric: str
) -> None:
    """Show devices under the same conditions together, each group with what was published."""
    refusal = comparability.refusal(groups)
    if refusal:
        st.warning(plain(refusal, 500), icon=":material/rule:")
    for group in groups:
        rows = [row for row in mine if row.key in group.keys]
        if refusal:
            st.subheader(plain(", ".join(sorted({naming.chip(row.device) for row in rows}))))
        _show_group(rows, _beside(rows, mine, theirs) if refusal else theirs, metric)
    if not groups and theirs:
        _show_group([], theirs, metric)


def _beside(
    rows: Sequence[Reading], mine: Sequence[Reading], theirs: Sequence[Reading]
) -> list[Reading]:
    """Return what was published of the chips of one group, and of chips that no group has."""
    here = {naming.chip(row.device) for row in rows}
    elsewhere = {naming.chip(row.device) for row in mine} - here
    return [row for row in theirs if naming.chip(row.device) not in elsewhere]


def _show_group(mine: Sequence[Reading], theirs: Sequence[Reading], metric: str) -> None:
    drawn = [row for row in [*mine, *theirs] if row.context]
    if drawn:
        draw(charts.by_context, drawn, metric, ask(queries.devices))
    if theirs:
        st.caption("Hollow points are published figures, measured by others elsewhere.")
    rows = sorted(mine, key=lambda row: (row.context or 0, row.name))
    factor, unit = tables.unit(metric, [row.value for row in rows])
    short = naming.devices(row.name for row in rows)
    several = len(short) > 1
    tables.show(
        [
            {
                "context": row.context,
                "device": short[row.name],
                **tables.figure(row.value, row.low, row.high, factor),
                "of best": readings.of_best(row, rows, metric) if several else None,
                "suspicious": "; ".join(row.doubts),
                "record": tables.link(row.record) if row.record else None,
            }
            for row in rows
        ],
        figure=st.column_config.NumberColumn(naming.title(metric, unit), format="%.4g"),
        spread=tables.SPREAD,
        of_best=tables.BAR,
        record=tables.OPEN,
    )


if __name__ == "__main__":
    page()
