"""What memory bandwidth explains of decode speed on each device, and what it does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import streamlit as st

from dashboard import choices
from dashboard.analysis import figures, roofline
from dashboard.charts import roofline as roofline_charts
from dashboard.charts.drawing import draw
from dashboard.database import ask
from db import queries
from db.queries import Newest, Published
from worker import roofline as ceiling
from worker.roofline import Explained, Model, Speed, nominal

BASELINE = "fp16"
METRICS_HERE = ("generation_tps", "kv_bytes", "read_bandwidth")


def kept_share(rows: Sequence[Newest], device: str, cache: str, context: int) -> float:
    """Return a cache's measured KV bytes over fp16's at the nearest context, else by its bits."""
    held = {
        name: {
            row.context: row.value
            for row in rows
            if row.metric == "kv_bytes" and row.device == device and row.cache == name
        }
        for name in (cache, BASELINE)
    }
    common = [place for place in held[cache] if place and held[BASELINE].get(place)]
    if not common:
        return ceiling.nominal_share(cache)
    nearest = min(common, key=lambda place: abs(place - context))
    return held[cache][nearest] / held[BASELINE][nearest]


def measured(rows: Sequence[Newest], model: str) -> list[Speed]:
    return [
        Speed(
            row.device,
            row.cache or "none",
            row.context,
            row.value,
            row.low,
            row.high,
            kept_share(rows, row.device, row.cache or "none", row.context),
        )
        for row in rows
        if row.metric == "generation_tps" and row.model == model and row.context
    ]


def published(rows: Sequence[Published], model: str) -> list[Speed]:
    return [
        Speed(
            f"{row.device} (published: {row.source})",
            row.cache or "none",
            row.context,
            row.value,
            row.value,
            row.value,
            ceiling.nominal_share(row.cache or "none"),
            published=True,
        )
        for row in rows
        if row.model == model and row.context
    ]


def show_explained(rows: Sequence[Explained]) -> None:
    st.dataframe(
        pd.DataFrame(
            [
                {
                    "device": row.speed.device,
                    "cache": row.speed.cache,
                    "context": row.speed.context,
                    "tokens/s": figures.with_spread(row.speed.tps, row.speed.low, row.speed.high),
                    "allowed": row.predicted,
                    "utilization": row.utilization,
                    "suspicious": "; ".join(row.suspicious),
                }
                for row in rows
            ]
        ),
        hide_index=True,
        column_config={
            "allowed": st.column_config.NumberColumn(
                format="%.1f", help="tokens/s that the bandwidth allows"
            ),
            "utilization": st.column_config.NumberColumn(format="percent"),
        },
    )


def show_bandwidths(
    devices: Sequence[str], reads: Mapping[str, Newest], specified: Mapping[str, float]
) -> None:
    """Show what each device reads, measured, beside its specification."""
    table = []
    for device in devices:
        read, nominal = reads.get(device), specified.get(device)
        table.append(
            {
                "device": device,
                "measured read": figures.shown(read.metric, read.value, read.low, read.high)
                if read
                else "not measured",
                "nominal": figures.shown("read_bandwidth", nominal, nominal, nominal)
                if nominal
                else "unknown",
                "of nominal": read.value / nominal if read and nominal else None,
            }
        )
    share = st.column_config.NumberColumn(format="percent")
    st.dataframe(pd.DataFrame(table), hide_index=True, column_config={"of nominal": share})


def show_costs(
    speeds: Sequence[Speed], model: Model, bandwidths: dict[str, float], context: int
) -> None:
    """Show how each cache's time splits into traffic and compute, and say it of the slowest."""
    for device in dict.fromkeys(speed.device for speed in speeds if speed.device in bandwidths):
        splits = costs_of_device(
            [speed for speed in speeds if speed.device == device],
            model,
            bandwidths[device],
            context,
        )
        if splits:
            name, _, slowest = max(splits, key=lambda found: found[2].ours)
            st.markdown(f"**{device}**, `{name}`: {roofline.verdict(slowest)}")
            table = [cost_row(name, line, split) for name, line, split in splits]
            st.dataframe(pd.DataFrame(table), hide_index=True)


Split = tuple[str, roofline.Line, roofline.Cost]


def costs_of_device(
    speeds: Sequence[Speed], model: Model, bandwidth: float, context: int
) -> list[Split]:
    """Return each cache's line and its split against fp16; nothing without a line for fp16."""
    by_cache: dict[str, list[Speed]] = {}
    for speed in speeds:
        by_cache.setdefault(speed.cache, []).append(speed)
    exact = roofline.fit(by_cache.pop(BASELINE, []))
    found = []
    for name, mine in by_cache.items():
        ours = roofline.fit(mine)
        if exact and ours:
            split = roofline.cost(
                exact, ours, model=model, share=mine[-1].share, bandwidth=bandwidth, context=context
            )
            found.append((name, ours, split))
    return found


def cost_row(name: str, line: roofline.Line, split: roofline.Cost) -> dict[str, str]:
    return {
        "cache": name,
        "of fp16's speed": f"{split.exact / split.ours:.0%}",
        "traffic": milliseconds(split.traffic, None),
        "compute": milliseconds(split.compute, None),
        "fitted: fixed part": milliseconds(line.start, line.start_error),
        "each 1K of context": milliseconds(
            1024 * line.slope, line.slope_error and 1024 * line.slope_error
        ),
    }


def milliseconds(seconds: float, error: float | None) -> str:
    value, half = 1e3 * seconds, 1e3 * (error or 0.0)
    return f"{figures.with_spread(value, value - half, value + half)} ms"


def show_forecast(rows: Sequence[Explained], model: Model) -> None:
    chips = ceiling.chips()
    left, right = st.columns(2)
    with left:
        chip = choices.one("Chip you do not own", list(chips), "chip", start=len(chips) - 1)
    with right:
        context = choices.one(
            "Context of the forecast", [512, 4096, 16384, 65536], "at", show=figures.context
        )
    efficiencies = [
        row.speed.tps * row.bytes / bandwidth
        for row in rows
        if row.speed.cache == BASELINE
        and not row.speed.published
        and not row.suspicious
        and (bandwidth := nominal(row.speed.device))
    ]
    found = roofline.forecast(efficiencies, chips[chip], model.bytes_per_token(context))
    st.metric(
        f"fp16 decode on {chip}",
        f"{found.middle:.0f} tokens/s ({found.low:.0f} to {found.high:.0f})",
    )
    st.caption(
        f"From {found.from_devices} measured figures; the range is that of the share of nominal "
        "bandwidth they reached"
        + ("." if found.from_devices >= 3 else ", with the usual 75 to 85 % taken in.")  # noqa: PLR2004
    )


st.title("Bandwidth")
known = ask(queries.newest, METRICS_HERE)
here = {row.model for row in known if row.model and ceiling.known_model(row.model)}
reference = [
    row
    for row in ask(queries.published)
    if (row.metric, row.kind) == ("generation_tps", "figure") and row.context
]
elsewhere = {row.model for row in reference if row.model and ceiling.known_model(row.model)}
models = [*sorted(here), *sorted(elsewhere - here)]
name = choices.one("Model", models, "model")
model = ceiling.known_model(name)
assert model  # noqa: S101  only known models are offered
mine = measured(known, name)
speeds = mine + published(reference, name)
if not mine:
    st.info(
        "Nothing was measured here with this model: the figures below are published ones. Measure "
        "with `farm run`.",
        icon=":material/info:",
    )
reads = {row.device: row for row in known if row.metric == "read_bandwidth"}
all_devices = list(dict.fromkeys(speed.device for speed in speeds))
devices = choices.some("Devices", all_devices, "devices")
speeds = [speed for speed in speeds if speed.device in devices]
specified = {device: bandwidth for device in devices if (bandwidth := nominal(device))}
bandwidths = specified | {device: reads[device].value for device in devices if device in reads}
rows = ceiling.explain(speeds, model, bandwidths)
unknown = [device for device in devices if device not in bandwidths]
if unknown:
    st.info(
        f"The bandwidth of {', '.join(unknown)} is unknown. Measure it with "
        "`farm run --suite default`.",
        icon=":material/info:",
    )
if rows:
    draw(roofline_charts.roofline, rows, tuple(bandwidths.items()))
    st.caption(
        "Lines are what the bandwidth allows: measured reads where there are some, else the "
        "nominal figure (published rows). Hollow points are published. Utilization compares with "
        "the same line."
    )
    suspicious = sum(bool(row.suspicious) for row in rows)
    if suspicious:
        st.warning(
            f"{suspicious} of {len(rows)} figures are suspicious; the table says why.",
            icon=":material/help:",
        )
    show_explained(rows)
    show_bandwidths(devices, reads, specified)
    st.subheader("Where the time goes")
    contexts = sorted({row.speed.context for row in rows})
    place = choices.one(
        "Context", contexts, "context", show=figures.context, start=len(contexts) - 1
    )
    show_costs(speeds, model, bandwidths, place)
st.subheader("Forecast")
show_forecast(rows, model)
