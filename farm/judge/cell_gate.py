"""The gate: a verdict for each series of a cell, from as few pairs as it takes to be sure."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from farm.judge.pairs import CHUNKS, Arms, Measure, Session, UnmeasurableError, WrongError
from farm.judge.verdict import (
    LOOKS,
    Better,
    Outcome,
    Verdict,
    at_look,
    confirm,
    joint,
    judge,
    judge_exact,
)
from worker.job import Cell
from worker.metrics import METRICS

EXACT_PAIRS = 2  # of figures that repeat exactly: bytes, quality
JUDGED = ("speed", "memory", "quality")


@dataclass(frozen=True)
class SeriesVerdict:
    """The verdict on one metric of one cell on one host.

    ``deviation`` is that between processes of one build, as a share; ``replaced`` the invalid
    pairs that were measured again; ``note`` says why there is no verdict.
    """

    host: str
    device: str
    comparison_key: str
    cell: Cell
    metric: str
    verdict: Verdict
    deviation: float = math.nan
    replaced: int = 0
    note: str = ""


def gate_cell(
    arms: Arms, cell: Cell, measure: Measure, seed: int, at_least: int = 0
) -> list[SeriesVerdict]:
    """Judge every metric of a cell; a regress is measured again and must be confirmed.

    A candidate that computes wrongly where the baseline does not is one too, whatever its speed.

    ``seed`` draws the order inside the pairs. ``at_least`` measures that many pairs even when
    fewer decide, to learn the noise.
    """
    session = Session(arms, cell, measure, np.random.default_rng(seed))
    try:
        verdicts = _judge(session, None, at_least)
        doubtful = [name for name, verdict in verdicts.items() if verdict.outcome == "regress"]
        if doubtful:
            second = _judge(session.again(), doubtful)
            verdicts |= {name: confirm(verdicts[name], second[name]) for name in doubtful}
    except WrongError as error:
        return [_told(session, "", Verdict("regress"), str(error))]
    except UnmeasurableError as error:
        return [_told(session, "", Verdict("invalid"), str(error))]
    return [_told(session, metric, verdict) for metric, verdict in verdicts.items()]


def outcome(verdicts: Collection[SeriesVerdict]) -> Outcome:
    """Return the joint outcome of a gate."""
    return joint(series.verdict.outcome for series in verdicts)


def _judge(
    session: Session, metrics: Collection[str] | None, at_least: int = 0
) -> dict[str, Verdict]:
    """Extend the session look by look until every metric is decided; all metrics for None."""
    session.extend(EXACT_PAIRS)
    found = [
        metric
        for metric in session.pairs[0].baseline
        if METRICS[metric].kind in JUDGED
        and metric not in CHUNKS.values()
        and metric in session.pairs[0].candidate
    ]
    chosen = [metric for metric in found if metrics is None or metric in metrics]
    speeds = [metric for metric in chosen if METRICS[metric].kind == "speed"]
    _sample(session, speeds, at_least)
    return {
        metric: _speed(session, metric) if metric in speeds else _exact(session, metric)
        for metric in chosen
    }


def _sample(session: Session, speeds: Sequence[str], at_least: int) -> None:
    """Measure until a look decides every speed."""
    undecided = list(speeds)
    for look in LOOKS:
        if not undecided:
            break
        session.extend(look.pairs)
        undecided = [
            metric
            for metric in undecided
            if at_look(session.log_ratios(metric), look, *_rule(metric)).outcome == "inconclusive"
        ]
    if speeds:
        session.extend(at_least)


def _speed(session: Session, metric: str) -> Verdict:
    return judge(session.log_ratios(metric), *_rule(metric))


def _exact(session: Session, metric: str) -> Verdict:
    baseline, candidate = (
        median(side[metric] for side in sides)
        for sides in zip(*((pair.baseline, pair.candidate) for pair in session.pairs), strict=True)
    )
    chunks = session.pairs[0].chunks.get(metric, ())
    return judge_exact(baseline, candidate, *_rule(metric), chunks)


def _rule(metric: str) -> tuple[Better, float]:
    return METRICS[metric].better, METRICS[metric].tolerance


def _told(session: Session, metric: str, verdict: Verdict, note: str = "") -> SeriesVerdict:
    speed = metric and METRICS[metric].kind == "speed"
    return SeriesVerdict(
        session.host,
        session.device,
        session.comparison_key,
        session.cell,
        metric,
        verdict,
        session.deviation(metric) if speed else math.nan,
        len(session.replaced),
        note,
    )
