"""Two commits over all cells: how much each series changed, and whether that is more than noise."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import mean, stdev

from dashboard.analysis import figures, naming
from db.queries import Change
from worker.metrics import METRICS

# Two points differ by the noise of both: three of these deviations are seen by chance in 1 of 370.
SIGNIFICANT = 3.0
SURE = 1.96
# The same figure the other way up: shown once, or each change would count twice.
INVERSES = {"tpot": "generation_tps", "ttft": "prompt_tps"}
ANSWERS = ("worse", "better", "changed", "same", "noise unknown", "not comparable")


@dataclass(frozen=True)
class Judged:
    """``relative`` is the change as a share of the base, ``gain`` that counted towards the better.

    ``significance`` is its size in noise.
    """

    relative: float
    significance: float | None
    answer: str
    gain: float = 0.0


Pair = tuple[Change, Judged]


def judge(change: Change) -> Judged:
    """Say how a series changed; a first look, for the gate alone gives verdicts with a known error.

    A change counts if it is larger than the metric's tolerance and three times its noise.
    """
    size = relative(change)
    metric = METRICS.get(change.metric)
    gain = -size if metric and metric.better == "lower" else size
    if change.base_key != change.head_key:
        return Judged(size, None, "not comparable", gain)
    significance = _significance(size, change.noise)
    tolerance = metric.tolerance if metric else 0.0
    if significance is None:
        answer = "noise unknown" if abs(size) > tolerance else "same"
    elif abs(size) <= tolerance or significance < SIGNIFICANT:
        answer = "same"
    elif metric is None:
        answer = "changed"
    else:
        answer = "better" if gain > 0 else "worse"
    return Judged(size, significance, answer, gain)


def relative(change: Change) -> float:
    """Return the change as a share of the base; from zero, any change is infinite."""
    if change.head == change.base:
        return 0.0
    if change.base == 0:
        return math.copysign(math.inf, change.head)
    return (change.head - change.base) / abs(change.base)


def by_significance(found: Iterable[Pair]) -> list[Pair]:
    """Sort the most significant first, those of unknown noise by their size after them."""
    return sorted(
        found,
        key=lambda pair: (
            -(pair[1].significance if pair[1].significance is not None else -1.0),
            -abs(pair[1].relative),
        ),
    )


def once(found: Iterable[Change]) -> list[Change]:
    """Leave out series that say another one the other way up, as seconds say tokens/s."""
    changes = list(found)
    shown = {(change.metric, change.device) for change in changes}
    return [
        change for change in changes if (INVERSES.get(change.metric), change.device) not in shown
    ]


@dataclass(frozen=True)
class Total:
    """How one metric changed over its comparable cells: the geometric mean with 95 % bounds."""

    metric: str
    counted: Counter[str]
    middle: float
    low: float
    high: float
    cells: int


def totals(pairs: Sequence[Pair]) -> list[Total]:
    """Sum up each metric; the interval is that of the mean of log ratios over cells."""
    by_metric: dict[str, list[Pair]] = {}
    for change, judged in pairs:
        by_metric.setdefault(change.metric, []).append((change, judged))
    return [_total(metric, found) for metric, found in by_metric.items()]


def _total(metric: str, pairs: Sequence[Pair]) -> Total:
    counted = Counter(judged.answer for _, judged in pairs)
    logs = [
        math.log(change.head / change.base)
        for change, judged in pairs
        if judged.answer != "not comparable" and change.base > 0 and change.head > 0
    ]
    if not logs:
        return Total(metric, counted, 0.0, 0.0, 0.0, 0)
    middle = mean(logs)
    half = SURE * stdev(logs) / math.sqrt(len(logs)) if len(logs) > 1 else 0.0
    bounds = (math.expm1(middle), math.expm1(middle - half), math.expm1(middle + half))
    return Total(metric, counted, *bounds, len(logs))


def headline(pairs: Sequence[Pair], base: str, head: str) -> str:
    """Say what changed between two commits, in counts and for the metric that lost the most."""
    if not pairs:
        return f"No series was measured at both {base} and {head}."
    counted = Counter(judged.answer for _, judged in pairs)
    words = ", ".join(f"{counted[answer]} {answer}" for answer in ANSWERS if counted[answer])
    moved = [total for total in totals(pairs) if total.counted["worse"] or total.counted["better"]]
    if not moved:
        return f"From {base} to {head}, of {len(pairs)} series: {words}."
    most = max(moved, key=lambda total: abs(total.middle))
    said = f"{naming.heading(most.metric)} changed by {figures.percent(most.middle)}"
    if most.cells > 1:
        said += (
            f" ({figures.percent(most.low)} to {figures.percent(most.high)}), the geometric mean "
            f"of {most.cells} series"
        )
    return f"From {base} to {head}, of {len(pairs)} series: {words}. {said}."


def _significance(size: float, noise: float | None) -> float | None:
    if noise is None:
        return None
    if noise == 0:
        return math.inf if size else 0.0
    return abs(size) / (noise * math.sqrt(2))
