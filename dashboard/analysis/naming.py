"""Names for people: short where that is clear, and always saying what differs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Protocol

from dashboard.analysis import figures
from db.queries import Description, Figure

# What pages call a metric, where its own name with spaces for lines would say less.
METRIC_NAMES = {
    "generation_tps": "decode speed",
    "prompt_tps": "prefill speed",
    "kv_bytes": "KV memory",
    "kv_saving": "KV memory saved",
    "kl_divergence": "KL divergence",
    "top1_agreement": "top-1 agreement",
    "needle_accuracy": "facts found",
    "needle_agreement": "answers to needles as fp16's",
    "ttft": "time to the first token",
    "tpot": "time per token",
    "joules_per_token": "energy per token",
    "kv_bytes_claimed": "KV memory claimed",
    "nll": "negative log-likelihood",
    "kl": "KL divergence of a step",
    "layer_kl": "KL divergence of a layer",
    "gemv_bandwidth": "matrix-vector bandwidth",
    "nominal_fraction": "share of the nominal bandwidth",
}
FULL = 16  # bits of what is not compressed
SHORT_HASH = 10


def chip(device: str) -> str:
    """Return a device's chip, without cores, memory and origin: ``M5 Max``."""
    return device.partition(",")[0].partition(" (")[0].removeprefix("Apple ")


def devices(names: Iterable[str]) -> dict[str, str]:
    """Return the shortest clear name of each device: its chip, or all of it where two share one."""
    known = list(dict.fromkeys(names))
    counted = Counter(map(chip, known))
    return {name: chip(name) if counted[chip(name)] == 1 else name for name in known}


def cache(label: str | None) -> str:
    """Return what people call a cache: ``K8V4`` for turbo with keys in 8 and values in 4 bits."""
    found = re.fullmatch(r"turbo\(key_bits=(\d+), value_bits=(\d+)(?:, (.*))?\)", label or "none")
    if not found:
        return label or "none"
    keys, values = (int(bits) or FULL for bits in found.groups()[:2])
    return f"K{keys}V{values}" + (f" ({found[3]})" if found[3] else "")


def metric(name: str) -> str:
    """Return what pages call a metric, the same everywhere."""
    return METRIC_NAMES.get(name, name.replace("_", " "))


def heading(name: str) -> str:
    """Return a metric's name as it begins a line."""
    return metric(name)[:1].upper() + metric(name)[1:]


def title(name: str, unit: str) -> str:
    """Return an axis title: the metric and its unit."""
    return f"{metric(name)} ({unit})" if unit else metric(name)


def variants(rows: Iterable[Figure]) -> dict[str, list[Figure]]:
    """Group figures by benchmark and parameters, named by those that differ; largest first.

    Figures of different groups do not measure the same and are never put on one line.
    """
    grouped: dict[tuple[str, tuple[str, ...]], list[Figure]] = {}
    for row in rows:
        grouped.setdefault((row.benchmark, row.parameters), []).append(row)
    everywhere = set.intersection(*(set(key[1]) for key in grouped)) if grouped else set()
    ordered = sorted(grouped.items(), key=lambda item: (-len(item[1]), item[0]))
    return {
        ", ".join((benchmark, *(one for one in inside if one not in everywhere))): found
        for (benchmark, inside), found in ordered
    }


def newest(rows: Iterable[Figure]) -> list[Figure]:
    """Keep the newest figure of each series; a build may have been measured in several runs."""
    found = {row.series: row for row in sorted(rows, key=lambda row: (row.started, row.record))}
    return sorted(found.values(), key=lambda row: (row.device, row.context or 0, row.cache or ""))


def newest_by_host(rows: Iterable[Figure]) -> list[Figure]:
    """Keep the newest figure of each series and host."""
    ordered = sorted(rows, key=lambda row: (row.started, row.record))
    found = {(row.series, row.host): row for row in ordered}
    return sorted(
        found.values(), key=lambda row: (row.device, row.host, row.context or 0, row.cache or "")
    )


class Built(Protocol):
    """Anything of one build: a summary, or a point of a series."""

    @property
    def build(self) -> str: ...
    @property
    def commit(self) -> str | None: ...


def commit(built: Built, known: Mapping[str, Description], *, dirty: bool = False) -> str:
    """Name a build by its commit's hash, subject and date, as far as they are known."""
    short = (built.commit or built.build)[:SHORT_HASH] + ("+changes" if dirty else "")
    said = known.get(built.commit or "")
    return f"{short} {said.subject} ({day(said.authored)})" if said else short


def revision(name: str, known: Mapping[str, Description]) -> str:
    """Name a commit by its short hash and its subject in quotes."""
    said = known.get(name)
    return f"{name[:SHORT_HASH]} “{said.subject}”" if said else name[:SHORT_HASH]


def day(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d")


def clock(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def ago(seconds: float) -> str:
    """Write an age: ``5 min``, ``3 h``, ``9 days``."""
    for size, unit in ((86_400, "days"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{max(seconds, 0):.0f} s"


class Measured(Protocol):
    """Anything of one cell: a figure, the newest of a series, or a change."""

    @property
    def cell(self) -> str: ...
    @property
    def benchmark(self) -> str: ...
    @property
    def model(self) -> str | None: ...
    @property
    def cache(self) -> str | None: ...
    @property
    def context(self) -> int | None: ...


def cells(rows: Iterable[Measured], parameters: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Name each cell by benchmark, cache, context and model, and by parameters where two differ."""
    known = {row.cell: row for row in rows}
    own = own_parameters(known.values(), parameters)
    return {
        cell: _cell(row) + (f" [{own[cell]}]" if own[cell] else "") for cell, row in known.items()
    }


def own_parameters(
    rows: Iterable[Measured], parameters: Mapping[str, Sequence[str]]
) -> dict[str, str]:
    """Return of each cell the parameters that tell it from others of its name; mostly nothing."""
    alike: dict[tuple[object, ...], set[str]] = {}
    for row in rows:
        place = (row.benchmark, row.model, row.cache, row.context)
        alike.setdefault(place, set()).add(row.cell)
    found = {}
    for group in alike.values():
        shared = set.intersection(*(set(parameters.get(cell, ())) for cell in group))
        for cell in group:
            own = [one for one in parameters.get(cell, ()) if one not in shared]
            alone = len(group) == 1
            found[cell] = "" if alone else ", ".join(own) or cell[:SHORT_HASH]
    return found


def _cell(row: Measured) -> str:
    place = f" @ {figures.context(row.context)}" if row.context else ""
    words = " ".join(filter(None, [row.benchmark, cache(row.cache) if row.cache else ""]))
    return f"{words}{place}" + (f", {row.model.rpartition('/')[2]}" if row.model else "")
