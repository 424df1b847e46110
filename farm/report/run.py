"""What a run found: each cache beside fp16 of the same host and model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from farm.report import not_counted
from farm.report.figures import COLUMNS, Figure, Ratio, figures
from farm.report.table import aligned
from worker import suspicion
from worker.job import Cell, Job
from worker.metrics import METRICS
from worker.record import Record

#: Beside a figure, or a ratio, that does not count.
MARK = "*"


def table(records: Sequence[Record]) -> str:
    """Return a table for each host, model and build: a row a cache, a column a metric and context.

    A ratio to fp16 stands beside its figure, with the lowest and highest of its pairs; what does
    not count is marked.
    """
    shown = figures(records)
    builds = dict.fromkeys(figure.build for figure in shown)
    groups: dict[str, list[Figure]] = {}
    for figure in shown:
        build = f", build {figure.build}" if len(builds) > 1 else ""
        groups.setdefault(f"{figure.host}: {figure.model}{build}", []).append(figure)
    tables = [f"{title}\n{_group(some)}" for title, some in groups.items()]
    marked = [f"{MARK} does not count"] if not all(one.counts_with_ratio for one in shown) else []
    return "\n\n".join([*tables, *marked])


def summary(records: Sequence[Record]) -> dict[str, Any]:
    """Return what ``table`` and ``doubts`` tell, for programs."""
    return {
        "figures": [
            asdict(one) | {"cell": one.cell.model_dump(mode="json")} for one in figures(records)
        ],
        "not_counted": [asdict(one) for one in not_counted.not_counted(records)],
        "suspicious": {
            record.name: list(reasons) for record, reasons in _suspicious(records) if reasons
        },
    }


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
    """Return one line for each kind of reason why figures do not count, one for suspicious ones."""
    lines = [not_counted.line(one) for one in not_counted.not_counted(records)]
    suspicious = [(record, reasons) for record, reasons in _suspicious(records) if reasons]
    if suspicious:
        record, reasons = suspicious[0]
        first = f"{record_name(record)}: {'; '.join(reasons)}"
        lines.append(f"suspicious: {len(suspicious)} of {len(records)} jobs (first: {first})")
    return lines


def _suspicious(records: Sequence[Record]) -> list[tuple[Record, tuple[str, ...]]]:
    across = suspicion.of_run(records)
    return [(one, (*one.suspicious, *across.get(one.job.id, ()))) for one in records]


def job_name(job: Job) -> str:
    """Name a job for people: ``local: decode@4096 fp16``."""
    return f"{job.host}: {job.cell.label}"


def record_name(record: Record) -> str:
    """Name a record as its job, but for the host that did it where a class was asked for."""
    return f"{record.place}: {record.job.cell.label}"


#: A column: metric, context, and the benchmark with its parameters where several give both.
_Column = tuple[str, int | None, str]


def _group(shown: Sequence[Figure]) -> str:
    variants: dict[tuple[str, int | None], list[Cell]] = {}
    for one in shown:
        cells = variants.setdefault((one.metric, one.context), [])
        if all(cell.comparison != one.cell.comparison for cell in cells):
            cells.append(one.cell)
    placed: dict[tuple[str, _Column], Figure] = {}
    for one in shown:
        variant = _variant(one.cell, variants[one.metric, one.context])
        placed[one.cache, (one.metric, one.context, variant)] = one
    columns = sorted(
        {column for _, column in placed},
        key=lambda column: (COLUMNS.index(column[0]), column[1] or 0, column[2]),
    )
    rows = [
        [cache, *(_cell(placed.get((cache, column))) for column in columns)]
        for _, cache in sorted({(not one.cell.is_baseline, one.cache) for one in shown})
    ]
    return aligned(["cache", *(_heading(*column) for column in columns)], rows)


def _variant(cell: Cell, others: Sequence[Cell]) -> str:
    """Name what tells a cell apart from the others that give the same metric at its context."""
    named = [{"benchmark": one.benchmark, **one.params} for one in others]
    mine = {"benchmark": cell.benchmark, **cell.params}
    differing = [name for name in mine if len({str(one.get(name)) for one in named}) > 1]
    return ", ".join(f"{name}={mine[name]}" for name in differing)


def _heading(metric: str, context: int | None, variant: str) -> str:
    name = metric if context is None else f"{metric}@{context}"
    return f"{name} ({variant})" if variant else name


def _cell(figure: Figure | None) -> str:
    if figure is None:
        return "-"
    mark = "" if figure.counts else MARK
    text = f"{number(figure.value, METRICS[figure.metric].unit)}{mark}"
    shown = figure.ratio and METRICS[figure.metric].kind in {"speed", "bytes"}
    return f"{text} ({_ratio(figure.ratio)})" if figure.ratio and shown else text


def _ratio(ratio: Ratio) -> str:
    mark = "" if ratio.counts else MARK
    interval = f", {ratio.low:.2f} to {ratio.high:.2f}" if ratio.pairs > 1 else ""
    return f"{ratio.value:.2f}x{mark}{interval}"


def number(value: float, unit: str) -> str:
    """Write a figure as people read it: bytes in MB, others with about three digits."""
    if unit == "bytes":
        return f"{value / 1e6:.2f} MB"
    if unit == "bytes/s":
        return f"{value / 1e9:.1f} GB/s"
    if value == 0 or abs(value) >= 1e-3:  # noqa: PLR2004  below that, decimals hide it
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"  # noqa: PLR2004  likewise
    return f"{value:.1e}"
