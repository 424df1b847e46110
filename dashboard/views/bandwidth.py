"""What memory bandwidth explains of decode speed on each device, and what it does not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from dashboard import builds, choices, emptiness, tables
from dashboard.analysis import decode_time, figures, naming
from dashboard.bandwidths import bandwidths, reads, specified
from dashboard.charts import roofline as charts
from dashboard.charts.drawing import draw
from dashboard.database import ask
from dashboard.plain import plain
from db import queries
from db.queries import Figure, Published
from worker import roofline
from worker.roofline import Explained, Model, Speed, nominal

BASELINE = "fp16"
SPEED, MEMORY = "generation_tps", "kv_bytes"
Sizes = dict[tuple[str, str | None, str], dict[int, float]]
CONTEXTS = [512, 1024, 4096, 16384, 65536, 131072]


def page() -> None:
    """Show decode speed of each device beside what its bandwidth allows, and a forecast."""
    st.title("Bandwidth")
    top = st.container()
    build = builds.choose((SPEED,))
    own = ask(queries.figures, build.build) if build else ()
    published = [row for row in ask(queries.published) if _is_speed(row)]
    name = _model(own, published)
    if name is None:
        _show_without_model()
        return
    model = roofline.known_model(name)
    assert model  # noqa: S101  only known models are offered
    mine = _measured([row for row in own if row.model == name], own)
    if not mine:
        emptiness.tell(
            "Nothing of yours counts with this model yet: the figures below are published ones. "
            "Measure with `farm run`."
        )
    speeds = _of_chosen_devices(mine + _published(published, name), len(mine))
    allowed = bandwidths(speed.device for speed in speeds)
    rows = roofline.explain(speeds, model, allowed)
    here = list(dict.fromkeys(speed.device for speed in speeds))
    cache = BASELINE if any(row.speed.cache == BASELINE for row in rows) else ""
    top.markdown(f"### {plain(decode_time.headline(rows, allowed, cache), 500)}")
    _show_devices(rows)
    _show_bandwidths(list(dict.fromkeys([*here, *ask(queries.devices)])))
    _show_explained(rows)
    _show_costs(speeds, model, allowed)
    _show_forecast(rows, model)


def _is_speed(row: Published) -> bool:
    return (row.metric, row.kind) == (SPEED, "figure") and row.context is not None


def _model(own: Sequence[Figure], published: Sequence[Published]) -> str | None:
    """Let a model be chosen of those whose bytes are known, those measured here first."""
    rows: list[Figure | Published] = [row for row in own if row.metric == SPEED]
    names = list(dict.fromkeys(row.model for row in [*rows, *published] if row.model))
    unknown = [name for name in names if roofline.known_model(name) is None]
    if unknown:
        st.caption(
            f"Not here, because the bytes that a token reads are unknown: "
            f"{plain(', '.join(unknown))}. A line in `worker/roofline.py` tells them."
        )
    known = [name for name in names if roofline.known_model(name)]
    return choices.one("Model", known, "model") if known else None


def _show_without_model() -> None:
    emptiness.tell(
        "No decode speed of a model whose bytes are known. Measure the bundled one with `farm run`."
    )
    _show_bandwidths(list(ask(queries.devices)))


def _measured(rows: Sequence[Figure], own: Sequence[Figure]) -> list[Speed]:
    """Return the speeds of one way to measure, the commonest first, with their shares of fp16."""
    found = naming.variants(row for row in rows if row.metric == SPEED and row.context)
    if not found:
        return []
    name = next(iter(found))
    if len(found) > 1:
        name = choices.one("Measured as", list(found), "variant")
    sizes = _sizes(own)
    return [
        Speed(
            row.device,
            row.cache or "none",
            row.context or 0,
            row.value,
            row.low,
            row.high,
            _kept_share(sizes, row),
        )
        for row in naming.newest(found[name])
    ]


def _sizes(own: Sequence[Figure]) -> Sizes:
    """Return the measured KV bytes by device, model and cache, and there by context."""
    sizes: Sizes = {}
    for row in own:
        if row.metric == MEMORY and row.context and row.cache:
            sizes.setdefault((row.device, row.model, row.cache), {})[row.context] = row.value
    return sizes


def _kept_share(sizes: Sizes, row: Figure) -> float:
    """Return a cache's measured KV bytes over fp16's at the nearest context, else by its bits."""
    cache = row.cache or "none"
    mine, exact = (sizes.get((row.device, row.model, name), {}) for name in (cache, BASELINE))
    common = [place for place in mine if exact.get(place)]
    if not common:
        return roofline.nominal_share(cache)
    nearest = min(common, key=lambda place: abs(place - (row.context or 0)))
    return mine[nearest] / exact[nearest]


def _published(rows: Sequence[Published], model: str) -> list[Speed]:
    return [
        Speed(
            row.device,
            row.cache or "none",
            row.context or 0,
            row.value,
            row.value,
            row.value,
            roofline.nominal_share(row.cache or "none"),
            published=True,
        )
        for row in rows
        if row.model == model
    ]


def _of_chosen_devices(speeds: Sequence[Speed], own: int) -> list[Speed]:
    """Let devices be chosen; this farm's own to begin with, all published ones if it has none."""
    devices = list(dict.fromkeys(map(_name, speeds)))
    start = list(dict.fromkeys(map(_name, speeds[:own] or speeds)))
    chosen = choices.some("Devices", devices, "devices", start=start)
    return [speed for speed in speeds if _name(speed) in chosen]


def _name(speed: Speed) -> str:
    return f"{speed.device} (published)" if speed.published else speed.device


def _show_devices(rows: Sequence[Explained]) -> None:
    if not rows:
        st.info(
            "The bandwidth of these devices is unknown. Measure it with `farm run`.",
            icon=":material/info:",
        )
        return
    caches = sorted({row.speed.cache for row in rows})
    names = list(dict.fromkeys(_name(row.speed) for row in rows))
    # A row for each two: a phone then shows them in the order of their names.
    rows_of_two = [st.columns(min(2, len(names))) for _ in names[::2]]
    for number, name in enumerate(names):
        with rows_of_two[number // 2][number % 2]:
            st.markdown(f"**{plain(name)}**")
            draw(
                charts.roofline,
                [row for row in rows if _name(row.speed) == name],
                caches,
                key=f"roofline-{number}",
            )
    st.caption(
        "Points are decode speeds, hollow ones published; the dashed line of the same colour is "
        "what the device's bandwidth allows with that cache: as measured, else as specified."
    )
    suspicious = sum(bool(row.suspicious) for row in rows)
    if suspicious:
        st.warning(
            f"{suspicious} of {len(rows)} figures are suspicious; the table says why.",
            icon=":material/help:",
        )


def _show_explained(rows: Sequence[Explained]) -> None:
    if not rows:
        return
    tables.show(
        [
            {
                "context": row.speed.context,
                **tables.figure(row.speed.tps, row.speed.low, row.speed.high, 1.0),
                "allowed": row.predicted,
                "utilization": row.utilization,
                "cache": naming.cache(row.speed.cache),
                "device": _name(row.speed),
                "suspicious": "; ".join(row.suspicious),
            }
            for row in rows
        ],
        figure=st.column_config.NumberColumn("tokens/s", format="%.4g"),
        spread=tables.SPREAD,
        allowed=st.column_config.NumberColumn(
            format="%.1f", help="tokens/s that the bandwidth allows"
        ),
        utilization=tables.PERCENT,
    )


def _show_bandwidths(devices: Sequence[str]) -> None:
    """Show what each device reads a second, measured, beside its specification."""
    read, known = reads(), specified(devices)
    rows = []
    for device in devices:
        found, nominal_rate = read.get(device), known.get(device)
        measured = (
            tables.figure(found.value, found.low, found.high, 1e-9)
            if found
            else {"figure": None, "spread": None}
        )
        rows.append(
            {
                "device": device,
                **measured,
                "nominal": nominal_rate / 1e9 if nominal_rate else None,
                "of specified": found.value / nominal_rate if found and nominal_rate else None,
                "record": tables.link(found.record) if found else None,
            }
        )
    if rows:
        st.subheader("What each device reads")
        tables.show(
            rows,
            figure=st.column_config.NumberColumn("measured (GB/s)", format="%.4g"),
            spread=tables.SPREAD,
            nominal=st.column_config.NumberColumn("specified (GB/s)", format="%.4g"),
            of_specified=tables.PERCENT,
            record=tables.OPEN,
        )


def _show_costs(speeds: Sequence[Speed], model: Model, allowed: Mapping[str, float]) -> None:
    """Show how each cache's time splits into traffic and compute, and say it of each."""
    contexts = sorted({speed.context for speed in speeds})
    if not contexts:
        return
    st.subheader("Where the time goes")
    context = choices.one(
        "Context", contexts, "context", show=figures.context, start=len(contexts) - 1
    )
    said, rows = [], []
    for name in dict.fromkeys(map(_name, speeds)):
        for split in _splits([s for s in speeds if _name(s) == name], model, allowed, context):
            cache, _, cost = split
            verdict = f"{naming.chip(name)}, {naming.cache(cache)}: {decode_time.verdict(cost)}"
            said.append(f"- {plain(verdict, 500)}")
            rows.append(_cost_row(*split) | {"device": name})
    if rows:
        st.markdown("\n".join(said))
        tables.show(rows, of_fp16_speed=tables.PERCENT)
    else:
        st.info(
            "It takes fp16 and another cache at two contexts or more on one device: "
            "`farm run --suite seed-context-scaling`, or `--set contexts`.",
            icon=":material/info:",
        )


Split = tuple[str, decode_time.Fit, decode_time.Cost]


def _splits(
    speeds: Sequence[Speed], model: Model, allowed: Mapping[str, float], context: int
) -> list[Split]:
    """Return each cache's fit and its split against fp16; nothing without a fit of fp16."""
    by_cache: dict[str, list[Speed]] = {}
    for speed in speeds:
        by_cache.setdefault(speed.cache, []).append(speed)
    exact = decode_time.fit(by_cache.pop(BASELINE, []))
    found, measured = [], reads()
    for name, mine in by_cache.items():
        ours, device = decode_time.fit(mine), mine[0].device
        if exact and ours and device in allowed:
            read = measured.get(device)
            split = decode_time.cost(
                exact,
                ours,
                model=model,
                share=mine[-1].share,
                bandwidth=allowed[device],
                context=context,
                doubt=(read.high - read.low) / 2 / read.value if read else None,
            )
            found.append((name, ours, split))
    return found


def _cost_row(name: str, fit: decode_time.Fit, split: decode_time.Cost) -> dict[str, object]:
    return {
        "of fp16 speed": split.exact / split.ours,
        "traffic": _milliseconds(split.traffic, split.traffic_error),
        "compute": _milliseconds(split.compute, split.compute_error),
        "fixed part": _milliseconds(fit.start, fit.start_error),
        "each 1K of context": _milliseconds(
            1024 * fit.slope, fit.slope_error and 1024 * fit.slope_error
        ),
        "cache": naming.cache(name),
    }


def _milliseconds(seconds: float, error: float | None) -> str:
    value, half = 1e3 * seconds, 1e3 * (error or 0.0)
    return f"{figures.with_spread(value, value - half, value + half)} ms"


def _show_forecast(rows: Sequence[Explained], model: Model) -> None:
    st.subheader("Forecast")
    chips = roofline.chips()
    left, middle, right = st.columns(3)
    with left:
        owned = {naming.chip(device) for device in ask(queries.devices)}
        others = [name for name in chips if naming.chip(name) not in owned]
        fastest = max(others or chips, key=lambda name: chips[name])
        names = list(chips)
        chip = choices.one("Chip", names, "chip", start=names.index(fastest))
    with middle:
        caches = list(dict.fromkeys([BASELINE, *(row.speed.cache for row in rows)]))
        cache = choices.one("Cache of the forecast", caches, "with", show=naming.cache, address=str)
    with right:
        context = choices.one(
            "Context of the forecast", CONTEXTS, "at", show=figures.context, start=2
        )
    of_cache = [row for row in rows if row.speed.cache == cache and not row.suspicious]
    own = [row for row in of_cache if not row.speed.published]
    efficiencies = [
        row.speed.tps * row.bytes / rate
        for row in own or of_cache
        if (rate := nominal(row.speed.device))
    ]
    shares = [row.speed.share for row in of_cache]
    share = shares[-1] if shares else roofline.nominal_share(cache)
    size = model.bytes_per_token(context, share)
    found = decode_time.forecast(efficiencies, chips[chip], size)
    st.markdown(
        f"**{plain(chip)} with {plain(naming.cache(cache))} at {figures.context(context)}: "
        f"{found.middle:.3g} tokens/s ({found.low:.3g} to {found.high:.3g}), "
        f"from its {chips[chip] / 1e9:.4g} GB/s**"
    )
    usual = "" if found.from_devices >= 3 else ", with the usual 75 to 85% taken in"  # noqa: PLR2004
    source = "measured" if own else "published"
    st.caption(
        f"From {found.from_devices} {source} figures with this cache; the range is that of the "
        f"share of the specified bandwidth they reached{usual}."
    )


if __name__ == "__main__":
    page()
