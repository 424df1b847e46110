"""What the page of devices says: how many times as fast, and how much of that is bandwidth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from dashboard.analysis import figures, naming
from dashboard.analysis.readings import Reading, furthest, lower_is_better, pair

USUAL = 4096  # tokens: the context that a headline takes where several were measured
VERBS = {"generation_tps": "decodes", "prompt_tps": "prefills"}


def headline(
    rows: Sequence[Reading], metric: str, cache: str | None, bandwidths: Mapping[str, float]
) -> str:
    """Say how many times as good the best device is as the worst, and what bandwidth alone gives.

    ``bandwidths`` are bytes/s by device, measured or nominal.
    """
    found = furthest(rows, metric, USUAL)
    if found is None:
        return _alone(rows, metric, bandwidths)
    short = naming.devices([found.better.name, found.worse.name])
    place = f"at {figures.context(found.better.context)}"
    with_cache = f" with {naming.cache(cache)}" if cache else ""
    return (
        f"{short[found.better.name]} {_times(metric, found.ratio)} {short[found.worse.name]} "
        f"{place}{with_cache}: {_shown(metric, found.better)} against "
        f"{_shown(metric, found.worse)}{_bandwidth(found.better, found.worse, metric, bandwidths)}."
    )


def _times(metric: str, ratio: float) -> str:
    verb = VERBS.get(metric)
    if verb:
        return f"{verb} {ratio:.2f} times as fast as"
    comparative = "lower" if lower_is_better(metric) else "higher"
    return f"has {ratio:.2f} times {comparative} {naming.metric(metric)} than"


def _shown(metric: str, row: Reading) -> str:
    return figures.shown(metric, row.value, row.low, row.high)


def _bandwidth(
    better: Reading, worse: Reading, metric: str, bandwidths: Mapping[str, float]
) -> str:
    known = (
        metric == "generation_tps" and better.device in bandwidths and worse.device in bandwidths
    )
    if not known:
        return ""
    alone = bandwidths[better.device] / bandwidths[worse.device]
    return f" (bandwidth alone: {alone:.2f} times)"


def _alone(rows: Sequence[Reading], metric: str, bandwidths: Mapping[str, float]) -> str:
    """Say the figure of each device near the usual context: there is no context that two share."""
    if not rows:
        return f"No figure of {naming.metric(metric)} here."
    nearest: dict[str, Reading] = {}
    for row in sorted(rows, key=lambda row: abs((row.context or 0) - USUAL)):
        nearest.setdefault(row.device, row)
    short = naming.devices(nearest)
    said = [f"{short[name]} {_placed(metric, row)}" for name, row in nearest.items()]
    published = "Published: " if all(row.source for row in nearest.values()) else ""
    # Tokens a second speak for themselves; of bytes, seconds and shares it must be said.
    what = "" if metric in VERBS else f"{naming.heading(metric)}: "
    more = "" if len(said) > 1 else ". No second device was measured with this model and cache"
    return f"{published}{what}{'; '.join(said)}{more}.{_roughly(nearest, metric, bandwidths)}"


def _roughly(nearest: Mapping[str, Reading], metric: str, bandwidths: Mapping[str, float]) -> str:
    """Say how two devices compare that share no context, and that it is rough."""
    if len(nearest) != 2:  # noqa: PLR2004  a ratio has two sides
        return ""
    worse, better = sorted(
        nearest.values(), key=lambda row: row.value, reverse=lower_is_better(metric)
    )
    if worse.value <= 0 or better.value <= 0:
        return ""
    ratio = pair(better, worse, metric).ratio
    short = naming.devices(nearest)
    return (
        f" Roughly, at contexts that are not the same, {short[better.device]} "
        f"{_times(metric, ratio)} {short[worse.device]}"
        f"{_bandwidth(better, worse, metric, bandwidths)}."
    )


def _placed(metric: str, row: Reading) -> str:
    place = f"at {figures.context(row.context)}" if row.context else "at a context that is not said"
    return f"{_shown(metric, row)} {place}"
