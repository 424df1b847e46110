"""A session of pairs: baseline and candidate back to back, the order drawn for each pair."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from itertools import takewhile

import numpy as np
from numpy.random import Generator

from farm.judge.ratios import log_ratio
from farm.judge.signed_rank import Floats
from worker.job import Build, Cell
from worker.machine.reasons import Reason, counts
from worker.metrics import METRICS, typical
from worker.record import Record

#: Measure a build and a cell in a fresh process; the number tells repetitions apart.
Measure = Callable[[Build, Cell, int], Record]
#: Hear of a pair as it comes: the records of baseline and candidate.
Watch = Callable[[Record, Record], None]


def ignore(_baseline: Record, _candidate: Record) -> None:
    """Hear of a pair, and do nothing."""


#: The samples of single chunks that a quality metric sums up.
CHUNKS = {"kl_divergence": "kl", "perplexity": "nll"}

MOST_LOST = 20  # pairs that a session may lose to a host that is not fit to measure
MOST_IN_A_ROW = 4  # of them one after the other: then a host stays as it is
MOST_FAILED = 2


class UnmeasurableError(Exception):
    """A cell that gives no pairs that count: which build, and why."""


class WrongError(UnmeasurableError):
    """A candidate that fails its golden vectors on a host where the baseline passes its own."""


class SpoiledError(UnmeasurableError):
    """A host on which no pair of some metric can be made to count: why, and what to do."""


@dataclass(frozen=True)
class Arms:
    """The two builds of a gate."""

    baseline: Build
    candidate: Build


@dataclass(frozen=True)
class Pair:
    """The figures of baseline and candidate by metric, and the values of single chunks.

    Only figures that count on both sides are there; ``spoiled`` says of the others why not.
    """

    baseline: Mapping[str, float]
    candidate: Mapping[str, float]
    chunks: Mapping[str, Floats]
    spoiled: Mapping[str, Reason]


@dataclass
class Session:
    """Measures pairs as they are asked for; what does not count is replaced and counted.

    ``metrics`` are those that were measured on both sides, whether they count or not; ``watch``
    hears of each pair; ``lost`` counts, by metric, the pairs that do not count.
    """

    arms: Arms
    cell: Cell
    measure: Measure
    rng: Generator
    watch: Watch = ignore
    host: str = ""
    device: str = ""
    comparison_key: str = ""
    metrics: tuple[str, ...] = ()
    pairs: list[Pair] = field(default_factory=list)
    lost: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    measured: int = 0

    def begin(self) -> None:
        """Measure until there is a pair, whether it counts or not; raises UnmeasurableError."""
        while not self.pairs:
            self._add()

    def extend(self, count: int, metrics: Collection[str]) -> None:
        """Measure until ``count`` pairs count for each of these metrics.

        Raises SpoiledError where the host lets none count, UnmeasurableError for a build that
        fails.
        """
        while missing := [metric for metric in metrics if len(self._of(metric)) < count]:
            for metric in missing:
                self._give_up(metric)
            self._add()

    def again(self) -> Session:
        """Return a session without pairs that goes on where this one stands, for a re-run."""
        return replace(self, pairs=[])

    def log_ratios(self, metric: str) -> Floats:
        """Return log candidate / baseline of each pair that counts."""
        pairs = self._of(metric)
        return np.array(
            [log_ratio(pair.baseline[metric], pair.candidate[metric]) for pair in pairs]
        )

    def figures(self, metric: str) -> tuple[list[float], list[float]]:
        """Return the figures that count of the baseline, and those of the candidate."""
        pairs = self._of(metric)
        return [one.baseline[metric] for one in pairs], [one.candidate[metric] for one in pairs]

    def chunks(self, metric: str) -> Floats:
        """Return the gains of single chunks in the first pair, none for a metric without them."""
        return self._of(metric)[0].chunks.get(metric, np.array([]))

    def deviation(self, metric: str) -> float:
        """Return the standard deviation between processes of one build, as a share."""
        logs = [np.log(figures) for figures in self.figures(metric)]
        return float(np.sqrt(np.mean([np.var(arm, ddof=1) for arm in logs])))

    def _of(self, metric: str) -> list[Pair]:
        return [pair for pair in self.pairs if metric in pair.baseline]

    def _add(self) -> None:
        """Measure one more pair; raises UnmeasurableError for a build that fails again."""
        baseline, candidate = self._next()
        if failures := [_failure(record) for record in (baseline, candidate) if record.failure]:
            self.failed += failures
            if len(self.failed) >= MOST_FAILED:
                raise _unmeasurable(failures[-1], baseline, candidate)
            return
        self.pairs.append(_pair(baseline, candidate))
        self.metrics = tuple(dict.fromkeys([*self.metrics, *_shared(baseline, candidate)]))
        self.lost.update(self.pairs[-1].spoiled.keys())

    def _give_up(self, metric: str) -> None:
        """Raise SpoiledError where the pairs so far say that no further one will count."""
        bad = list(takewhile(lambda pair: metric not in pair.baseline, reversed(self.pairs)))
        if not bad:
            return
        why = bad[0].spoiled.get(metric)
        told = f"{why.sentence}; {why.remedy}" if why else f"{metric} was not measured"
        if why and not why.passes:
            raise SpoiledError(told)
        if len(bad) >= MOST_IN_A_ROW or self.lost[metric] > MOST_LOST:
            raise SpoiledError(f"{len(bad)} pairs in a row do not count: {told}")

    def _next(self) -> tuple[Record, Record]:
        """Measure a pair; return the baseline's record and the candidate's."""
        builds = [self.arms.baseline, self.arms.candidate]
        order = self.rng.permutation(2)
        records = {}
        for place, side in enumerate(order):
            records[side] = self.measure(builds[side], self.cell, self.measured + place)
        self.measured += 2
        self.host = records[0].place
        self.device = records[0].environment.device
        self.comparison_key = records[0].environment.comparison_key
        self.watch(records[0], records[1])
        return records[0], records[1]


def _pair(baseline: Record, candidate: Record) -> Pair:
    base, head = _values(baseline), _values(candidate)
    chunks = {}
    for metric, name in CHUNKS.items():
        if len(base.get(name, ())) == len(head.get(name, ())) > 0:
            chunks[metric] = np.array(base[name]) - np.array(head[name])
    shared = _shared(baseline, candidate)
    spoiled = {metric: why for metric in shared if (why := _spoiling(metric, baseline, candidate))}
    figures = [
        {metric: typical(metric, side[metric]) for metric in shared if metric not in spoiled}
        for side in (base, head)
    ]
    return Pair(figures[0], figures[1], chunks, spoiled)


def _spoiling(metric: str, *records: Record) -> Reason | None:
    """Return why a pair does not count; what no wait mends comes first."""
    spoiling = [one for record in records for one in record.invalid if not counts(metric, [one])]
    return min(spoiling, key=lambda one: one.passes, default=None)


def _shared(baseline: Record, candidate: Record) -> list[str]:
    """Return the metrics that both sides measured, in the baseline's order."""
    base, head = _values(baseline), _values(candidate)
    return [metric for metric in base if metric in head and metric in METRICS]


def _values(record: Record) -> dict[str, list[float]]:
    """Return the samples of a record by metric, warm-ups dropped."""
    values: dict[str, list[float]] = {}
    for sample in record.samples:
        if not sample.warmup:
            values.setdefault(sample.metric, []).append(sample.value)
    return values


def _unmeasurable(why: str, baseline: Record, candidate: Record) -> UnmeasurableError:
    wrong = candidate.failure is not None and candidate.failure.kind == "wrong"
    if wrong and baseline.failure is None:
        return WrongError(f"{why}; the baseline passes its own there")
    return UnmeasurableError(why)


def _failure(record: Record) -> str:
    message = record.failure.message if record.failure else ""
    return f"build {record.job.build.hash} fails: {message}"
