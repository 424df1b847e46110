"""The figures of a run: each cache beside fp16 of the same host, build, model and parameters.

A ratio of speeds is made of pairs: the same round's record of the cache and of fp16, measured side
by side. It is the median of the pairs that count on both sides; where there is none, of those that
count on neither, marked. A figure that counts is never set against one that does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from worker.job import Cell
from worker.metrics import METRICS, typical
from worker.record import Record

#: Metrics of the table, in the order of its columns.
COLUMNS = tuple(name for name, metric in METRICS.items() if not metric.detail)


@dataclass(frozen=True)
class Ratio:
    """A figure over that of fp16: of ``pairs`` pairs the median, the lowest and the highest.

    ``pairs`` is 0 for figures that are the same each time, such as bytes.
    """

    value: float
    low: float
    high: float
    pairs: int
    counts: bool


@dataclass(frozen=True)
class Figure:
    """One metric of one cell on one host and build; ``counts`` says whether it does."""

    host: str
    build: str
    cell: Cell
    metric: str
    value: float
    counts: bool
    ratio: Ratio | None

    @property
    def counts_with_ratio(self) -> bool:
        """Whether it counts, and its ratio too where it has one."""
        return self.counts and (self.ratio is None or self.ratio.counts)

    @property
    def model(self) -> str:
        return self.cell.model or "-"

    @property
    def cache(self) -> str:
        return self.cell.cache.label if self.cell.cache else "-"

    @property
    def context(self) -> int | None:
        context = self.cell.params.get("context")
        return context if isinstance(context, int) else None


@dataclass(frozen=True)
class _Sampled:
    """One record's samples of a metric; ``round`` tells its processes apart."""

    round: tuple[str, int]
    samples: tuple[float, ...]
    counts: bool


#: Host, build, cell, metric.
_Key = tuple[str, str, str, str]


def figures(records: Iterable[Record]) -> list[Figure]:
    """Return the figures of every good record; several of one cell are pooled.

    Figures that do not count are shown only where the cell has none that count.
    """
    cells: dict[str, Cell] = {}
    sampled: dict[_Key, list[_Sampled]] = {}
    for record in records:
        if record.status == "ok":
            cell = record.job.cell
            cells[cell.id] = cell
            for metric, one in _samples(record):
                key = (record.place, record.job.build.hash, cell.id, metric)
                sampled.setdefault(key, []).append(one)
    baselines = _baselines(cells.values())
    return [
        _figure(
            key, cells[key[2]], measured, sampled.get((*key[:2], baselines.get(key[2], ""), key[3]))
        )
        for key, measured in sampled.items()
    ]


def _samples(record: Record) -> Iterable[tuple[str, _Sampled]]:
    values: dict[str, list[float]] = {}
    for sample in record.samples:
        if not sample.warmup and sample.metric in COLUMNS:
            values.setdefault(sample.metric, []).append(sample.value)
    round_ = (record.job.run, record.job.repetition)
    for metric, some in values.items():
        yield metric, _Sampled(round_, tuple(some), record.counts(metric))


def _baselines(cells: Iterable[Cell]) -> Mapping[str, str]:
    """Return the fp16 cell that each other cell is compared with, by their ids."""
    all_cells = list(cells)
    of = {cell.comparison: cell.id for cell in all_cells if cell.is_baseline}
    return {
        cell.id: of[cell.comparison]
        for cell in all_cells
        if cell.comparison in of and cell.id != of[cell.comparison]
    }


def _figure(
    key: _Key, cell: Cell, measured: Sequence[_Sampled], baseline: Sequence[_Sampled] | None
) -> Figure:
    host, build, _, metric = key
    ratio = _ratio(metric, measured, baseline) if baseline else None
    return Figure(host, build, cell, metric, *_pooled(metric, measured), ratio)


def _pooled(metric: str, measured: Sequence[_Sampled]) -> tuple[float, bool]:
    """Return the typical figure of those that count, or of all, and whether it counts."""
    counting = [one for one in measured if one.counts]
    samples = [sample for one in counting or measured for sample in one.samples]
    return typical(metric, samples), bool(counting)


def _ratio(metric: str, measured: Sequence[_Sampled], baseline: Sequence[_Sampled]) -> Ratio | None:
    if METRICS[metric].exact:
        (ours, counts), (theirs, theirs_counts) = (_pooled(metric, s) for s in (measured, baseline))
        ratio = ours / theirs if theirs and counts == theirs_counts else None
        return None if ratio is None else Ratio(ratio, ratio, ratio, 0, counts)
    beside = {one.round: one for one in baseline}
    pairs = [(one, beside[one.round]) for one in measured if one.round in beside]
    for counts in (True, False):
        ratios = [
            typical(metric, ours.samples) / typical(metric, theirs.samples)
            for ours, theirs in pairs
            if ours.counts == theirs.counts == counts
        ]
        if ratios:
            return Ratio(median(ratios), min(ratios), max(ratios), len(ratios), counts)
    return None
