"""What a run found: each cache beside fp16 of the same host and model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from farm.report.table import aligned
from worker import suspicion
from worker.job import Cell, Job
from worker.metrics import METRICS, typical
from worker.record import Record

BASELINE = "fp16"

#: Metrics of the table, in the order of its columns.
COLUMNS = (
    "generation_tps",
    "prompt_tps",
    "kv_bytes",
    "kv_saving",
    "kl_divergence",
    "top1_agreement",
    "greedy_prefix",
    "needle_accuracy",
    "needle_agreement",
    "perplexity",
    "read_bandwidth",
)


@dataclass(frozen=True)
class Figure:
    """One metric of one cache at one context, with its ratio to fp16 there if that was measured."""

    host: str
    model: str
    cache: str
    metric: str
    context: int | None
    value: float
    ratio: float | None


def figures(records: Sequence[Record]) -> list[Figure]:
    """Return the figures of every good record; several of one cell are pooled.

    Figures of an invalid record are shown only where its cell has no valid one.
    """
    pooled: dict[tuple[str, str, str, str, int | None], list[float]] = {}
    for record in counted(records):
        if record.status == "ok":
            cell = record.job.cell
            context = cell.params.get("context")
            cache = cell.cache.label if cell.cache else "-"
            for sample in record.samples:
                if not sample.warmup and sample.metric in COLUMNS:
                    place = context if isinstance(context, int) else None
                    key = (record.place, cell.model or "-", cache, sample.metric, place)
                    pooled.setdefault(key, []).append(sample.value)
    values = {key: typical(key[3], samples) for key, samples in pooled.items()}
    return [
        Figure(*key, value, _ratio(value, values.get((*key[:2], BASELINE, *key[3:]))))
        for key, value in values.items()
    ]


def table(records: Sequence[Record]) -> str:
    """Return a table for each host and model: a row a cache, a column a metric and context."""
    found = figures(records)
    groups = dict.fromkeys((figure.host, figure.model) for figure in found)
    return "\n\n".join(
        f"{host}: {model}\n" + _group([f for f in found if (f.host, f.model) == (host, model)])
        for host, model in groups
    )


def overhead(records: Sequence[Record], wall: float) -> str:
    """Return how much of ``wall`` seconds was not measuring: starting, loading, storing."""
    measured = sum(record.phases.get("measure", 0.0) for record in records)
    share = (wall - measured) / wall if wall else 0.0
    return (
        f"harness overhead: {wall - measured:.0f} s of {wall:.0f} s ({share:.0%}): "
        "process start, model load, probing, storing"
    )


def failure(record: Record) -> str:
    """Return one line that names a failed job, why it failed and what to do."""
    assert record.failure  # noqa: S101  only called for failed records
    remedy = f"; {record.failure.remedy}" if record.failure.remedy else ""
    return f"failed: {record_name(record)}: {record.failure.message}{remedy}"


def doubts(records: Sequence[Record]) -> list[str]:
    """Return one line for each record that is invalid, and for each that is suspicious: why."""
    across = suspicion.of_run(records)
    lines = []
    for record in records:
        suspicious = (*record.suspicious, *across.get(record.job.id, ()))
        invalid = tuple(one.sentence for one in record.invalid) if record.spoiled else ()
        for kind, reasons in (("invalid", invalid), ("suspicious", suspicious)):
            if reasons:
                lines.append(f"{kind}: {record_name(record)}: {'; '.join(reasons)}")
    return lines


def job_name(job: Job) -> str:
    """Name a job for people: ``local: decode@4096 fp16``."""
    return f"{job.host}: {_cell_name(job.cell)}"


def record_name(record: Record) -> str:
    """Name a record as its job, but for the host that did it where a class was asked for."""
    return f"{record.place}: {_cell_name(record.job.cell)}"


def _cell_name(cell: Cell) -> str:
    context = f"@{cell.params['context']}" if "context" in cell.params else ""
    cache = f" {cell.cache.label}" if cell.cache else ""
    return f"{cell.benchmark}{context}{cache}"


def _group(found: Sequence[Figure]) -> str:
    columns = sorted(
        {(figure.metric, figure.context) for figure in found},
        key=lambda column: (COLUMNS.index(column[0]), column[1] or 0),
    )
    by_place = {(figure.cache, figure.metric, figure.context): figure for figure in found}
    rows = [
        [cache, *(_cell(by_place.get((cache, *column))) for column in columns)]
        for cache in dict.fromkeys(figure.cache for figure in found)
    ]
    return aligned(["cache", *(_heading(*column) for column in columns)], rows)


def _heading(metric: str, context: int | None) -> str:
    return metric if context is None else f"{metric}@{context}"


def _cell(figure: Figure | None) -> str:
    if figure is None:
        return "-"
    text = number(figure.value, METRICS[figure.metric].unit)
    show = figure.ratio is not None and figure.cache != BASELINE
    show = show and METRICS[figure.metric].kind in {"speed", "bytes"}
    return f"{text} ({figure.ratio:.2f}x)" if show else text


def number(value: float, unit: str) -> str:
    """Write a figure as people read it: bytes in MB, others with about three digits."""
    if unit == "bytes":
        return f"{value / 1e6:.2f} MB"
    if unit == "bytes/s":
        return f"{value / 1e9:.1f} GB/s"
    if value == 0 or abs(value) >= 1e-3:  # noqa: PLR2004  below that, decimals hide it
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"  # noqa: PLR2004  likewise
    return f"{value:.1e}"


def _ratio(value: float, baseline: float | None) -> float | None:
    return value / baseline if baseline else None


def counted(records: Iterable[Record]) -> list[Record]:
    """Return the records without invalid ones whose cell, host and build has a valid one."""
    found = list(records)
    valid = {_place(record) for record in found if not record.invalid and not record.failure}
    return [record for record in found if not record.invalid or _place(record) not in valid]


def _place(record: Record) -> tuple[str, str, str]:
    return record.place, record.job.build.hash, record.job.cell.id
