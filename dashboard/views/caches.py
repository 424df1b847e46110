"""Speed, memory and quality of each cache against fp16 of the same device, run and build."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from dashboard import builds, choices, emptiness, tables
from dashboard.analysis import figures, naming, trade_offs
from dashboard.analysis.trade_offs import OTHERS, SPEEDS, Divergences, TradeOff
from dashboard.charts import trade_offs as charts
from dashboard.charts.drawing import draw
from dashboard.database import ask
from dashboard.plain import plain
from db import queries
from db.queries import Figure

WORST_KL = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
USUAL = 0.02
Doubts = Mapping[int, tuple[str, ...]]


def page() -> None:
    """Show which cache to ship at a context: speed, memory and quality, and a recommendation."""
    st.title("Caches")
    top = st.container()
    build = builds.choose(SPEEDS)
    own = list(ask(queries.figures, build.build)) if build else []
    fast = [row for row in own if row.metric in SPEEDS and row.model and row.cache]
    if not fast:
        counting = ask(queries.newest)
        others = " Their memory is on Devices, their answers are on Quality." if counting else ""
        emptiness.tell(f"No speed of a cache counts yet. Run `farm run`.{others}")
        _tell_published()
        return
    one, two, three, four = st.columns(4)
    with one:
        device = choices.one("Device", sorted({row.device for row in fast}), "device")
    own = [row for row in own if row.device == device]
    with two:
        models = list(dict.fromkeys(row.model for row in fast if row.device == device))
        model = choices.one("Model", models, "model", show=str)
    own = [row for row in own if row.model == model]
    with three:
        measured = {row.metric for row in own}
        speeds = [name for name in SPEEDS if name in measured]
        speed = choices.one("Speed", speeds, "speed", show=naming.metric, address=str)
    rows = trade_offs.trade_offs(_measured_alike(own, speed), speed, _bounds(own))
    if not rows:
        emptiness.tell(
            f"No run of this build has {naming.metric(speed)} of fp16 and of another cache that "
            "count: there is nothing to compare with. Run `farm run --again 3`."
        )
        return
    with four:
        context = _context(rows)
    worst_kl = _worst_kl()
    here = [row for row in rows if row.context == context]
    top.markdown(f"### {plain(trade_offs.headline(here, device, worst_kl), 600)}")
    top.markdown(plain(trade_offs.choice_line(here, model or "", worst_kl), 600))
    _show(here, worst_kl, ask(queries.suspicions, build.build) if build else {})


def _context(rows: Sequence[TradeOff]) -> int:
    """Let one of the contexts be chosen."""
    contexts = sorted({row.context for row in rows})
    start = contexts.index(4096) if 4096 in contexts else len(contexts) - 1  # noqa: PLR2004
    return choices.one("Context", contexts, "context", show=figures.context, start=start)


def _worst_kl() -> float:
    """Let the divergence be chosen up to which answers count as fp16's."""
    return choices.one(
        "Highest KL divergence that still counts as the same answers (nats)",
        WORST_KL,
        "worst_kl",
        start=WORST_KL.index(USUAL),
    )


def _bounds(rows: Sequence[Figure]) -> Divergences:
    """Return the bounds of divergences by record."""
    records = tuple(sorted({row.record for row in rows if row.metric == "kl_divergence"}))
    return trade_offs.divergences(ask(queries.scores_by_label, records, "kl"))


def _measured_alike(rows: Sequence[Figure], speed: str) -> list[Figure]:
    """Let one of several ways to measure the speed be chosen; the rest stays."""
    found = naming.variants(row for row in rows if row.metric == speed)
    name = next(iter(found), "")
    if len(found) > 1:
        name = choices.one("Measured as", list(found), "variant")
    return [*found.get(name, ()), *(row for row in rows if row.metric in OTHERS)]


def _show(rows: Sequence[TradeOff], worst_kl: float, doubts: Doubts) -> None:
    known = [row for row in rows if row.memory is not None]
    if known:
        caches = sorted({row.name for row in rows})
        draw(charts.chart, known, worst_kl, caches)
        st.caption(
            "The dashed line is the Pareto front: no cache off it is surely as fast and as small. "
            "Bars are the range of the trials. Crossed out: too far from fp16's answers."
        )
    else:
        st.info("KV memory of these caches does not count here. Run `farm run --again 3`.")
    _show_table(rows, worst_kl, doubts)
    _show_elsewhere(rows)


def _show_table(rows: Sequence[TradeOff], worst_kl: float, doubts: Doubts) -> None:
    best = trade_offs.front(rows, worst_kl)
    tables.show(
        [
            {
                "speed": 100 * row.speed,
                "spread": 100 * row.spread or None,
                "KV memory": row.memory,
                "KL divergence": row.kl_divergence,
                "verdict": trade_offs.verdict(row, worst_kl),
                "cache": naming.cache(row.name),
                "top-1 agreement": row.top1_agreement,
                "facts found": row.needles,
                "perplexity": row.perplexity,
                "front": row in best,
                "why": "; ".join(trade_offs.faults(row, worst_kl)),
                "suspicious": "; ".join(doubts.get(row.record or 0, ())),
                "record": tables.link(row.record) if row.record else None,
            }
            for row in rows
        ],
        speed=st.column_config.NumberColumn("speed (% of fp16)", format="%.1f"),
        spread=tables.SPREAD,
        perplexity=st.column_config.NumberColumn("perplexity (of fp16's)", format="%.3f"),
        record=tables.OPEN,
        **{
            "KV memory": tables.PERCENT,
            "top-1 agreement": tables.PERCENT,
            "facts found": tables.PERCENT,
            "KL divergence": st.column_config.NumberColumn("KL (nats)", format="%.4f"),
        },
    )


def _show_elsewhere(rows: Sequence[TradeOff]) -> None:
    places: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        places.setdefault(row.elsewhere, []).append(plain(naming.cache(row.name)))
    for elsewhere, caches in places.items():
        if elsewhere:
            where = plain(", ".join(elsewhere))
            st.caption(f"Measured at another context: {where}, of {', '.join(caches)}.")


def _tell_published() -> None:
    """Say what others published of caches, so that an empty page is not all there is."""
    rows = [row for row in ask(queries.published) if row.kind == "ratio" and row.metric in SPEEDS]
    if not rows:
        return
    st.subheader("Published")
    tables.show(
        [
            {
                "context": row.context,
                "speed": row.value,
                "cache": naming.cache(row.cache),
                "device": row.device,
                "model": row.model,
                "source": row.source,
            }
            for row in rows
        ],
        speed=st.column_config.NumberColumn("speed (share of fp16)", format="percent"),
    )


if __name__ == "__main__":
    page()
