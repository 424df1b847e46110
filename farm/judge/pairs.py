"""A session of pairs: baseline and candidate back to back, the order drawn for each pair."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from statistics import mean, median

import numpy as np
from numpy.random import Generator

from farm.judge.ratios import log_ratio
from farm.judge.signed_rank import Floats
from worker.job import Build, Cell
from worker.metrics import METRICS
from worker.record import Record

#: Measure a build and a cell in a fresh process; the number tells repetitions apart.
Measure = Callable[[Build, Cell, int], Record]

#: The samples of single chunks that a quality metric sums up.
CHUNKS = {"kl_divergence": "kl", "perplexity": "nll"}

MOST_REPLACED = 20  # pairs that a session may lose to a host that is not fit to measure
MOST_FAILED = 2


class UnmeasurableError(Exception):
    """A cell that gives no valid pairs: which build, and why."""


class WrongError(UnmeasurableError):
    """A candidate that fails its golden vectors on a host where the baseline passes its own."""


@dataclass(frozen=True)
class Arms:
    """The two builds of a gate."""

    baseline: Build
    candidate: Build


@dataclass(frozen=True)
class Pair:
    """A figure a metric of baseline and candidate, and the values of single chunks."""

    baseline: Mapping[str, float]
    candidate: Mapping[str, float]
    chunks: Mapping[str, Floats]


@dataclass
class Session:
    """Measures pairs as they are asked for; an invalid pair is replaced and counted."""

    arms: Arms
    cell: Cell
    measure: Measure
    rng: Generator
    host: str = ""
    device: str = ""
    comparison_key: str = ""
    pairs: list[Pair] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    measured: int = 0

    def extend(self, count: int) -> None:
        """Measure until there are ``count`` valid pairs; raises UnmeasurableError."""
        failed: list[str] = []
        while len(self.pairs) < count:
            records = self._next()
            failures = [_failure(record) for record in records if record.failure]
            invalid = [reason for record in records for reason in record.invalid]
            if not failures and not invalid:
                self.pairs.append(_pair(*records))
                continue
            failed += failures
            self.replaced += failures or invalid[:1]
            if len(failed) >= MOST_FAILED or len(self.replaced) > MOST_REPLACED:
                raise _unmeasurable(self.replaced[-1], *records)

    def again(self) -> Session:
        """Return a session without pairs that goes on where this one stands, for a re-run."""
        return replace(self, pairs=[])

    def log_ratios(self, metric: str) -> Floats:
        """Return log candidate / baseline of each pair."""
        return np.array(
            [log_ratio(pair.baseline[metric], pair.candidate[metric]) for pair in self.pairs]
        )

    def deviation(self, metric: str) -> float:
        """Return the standard deviation between processes of one build, as a share."""
        arms = [[math.log(pair.baseline[metric]) for pair in self.pairs]]
        arms.append([math.log(pair.candidate[metric]) for pair in self.pairs])
        return float(np.sqrt(np.mean([np.var(arm, ddof=1) for arm in arms])))

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
        return records[0], records[1]


def _pair(baseline: Record, candidate: Record) -> Pair:
    base, head = _values(baseline), _values(candidate)
    chunks = {}
    for metric, name in CHUNKS.items():
        if len(base.get(name, ())) == len(head.get(name, ())) > 0:
            chunks[metric] = np.array(base[name]) - np.array(head[name])
    figures = [
        {metric: _summary(metric, values) for metric, values in side.items() if metric in METRICS}
        for side in (base, head)
    ]
    return Pair(figures[0], figures[1], chunks)


def _values(record: Record) -> dict[str, list[float]]:
    """Return the samples of a record by metric, warm-ups dropped."""
    values: dict[str, list[float]] = {}
    for sample in record.samples:
        if not sample.warmup:
            values.setdefault(sample.metric, []).append(sample.value)
    return values


def _summary(metric: str, values: list[float]) -> float:
    return mean(values) if METRICS[metric].kind == "quality" else median(values)


def _unmeasurable(why: str, baseline: Record, candidate: Record) -> UnmeasurableError:
    wrong = candidate.failure is not None and candidate.failure.kind == "wrong"
    if wrong and baseline.failure is None:
        return WrongError(f"{why}; the baseline passes its own there")
    return UnmeasurableError(why)


def _failure(record: Record) -> str:
    message = record.failure.message if record.failure else ""
    return f"build {record.job.build.hash} fails: {message}"
