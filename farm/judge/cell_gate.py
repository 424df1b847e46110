"""The gate: a verdict for each series of a cell, from as few pairs as it takes to be sure."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from farm.judge.pairs import (
    CHUNKS,
    Arms,
    Measure,
    Session,
    SpoiledError,
    UnmeasurableError,
    Watch,
    WrongError,
    ignore,
)
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

Judged = tuple[Verdict, str]  # and a note
#: Hears which metrics regressed after how many pairs.
Confirming = Callable[[Sequence[str], int], None]
#: Hears which metrics no look has decided yet, and how many more pairs the next one takes.
Undecided = Callable[[Sequence[str], int], None]

EXACT_PAIRS = 2  # of figures that repeat exactly: bytes, quality
JUDGED = ("speed", "energy", "bytes", "quality")


@dataclass(frozen=True)
class SeriesVerdict:
    """The verdict on one metric of one cell on one host.

    ``deviation`` is that between processes of one build, as a share; ``replaced`` the pairs
    that did not count and were measured again; ``note`` says why there is no verdict.
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
    arms: Arms,
    cell: Cell,
    measure: Measure,
    seed: int,
    at_least: int = 0,
    watch: Watch = ignore,
    *,
    confirming: Confirming = lambda _metrics, _pairs: None,
    undecided: Undecided = lambda _metrics, _pairs: None,
) -> list[SeriesVerdict]:
    """Judge every metric of a cell; a regress is measured again and must be confirmed.

    A candidate that computes wrongly where the baseline does not is one too, whatever its speed.

    ``seed`` draws the order inside the pairs. ``at_least`` measures that many pairs even when
    fewer decide, to learn the noise. ``watch`` hears of each pair, ``confirming`` before
    a regress is measured again, ``undecided`` before a session goes on past a look.
    """
    session = Session(arms, cell, measure, np.random.default_rng(seed), watch)
    try:
        session.begin()
        judged = _judge(session, _judged(session), undecided, at_least)
        doubtful = [metric for metric, one in judged.items() if one[0].outcome == "regress"]
        if doubtful:
            confirming(doubtful, len(session.pairs))
            second = _judge(session.again(), doubtful, undecided)
            judged |= {name: (confirm(judged[name][0], second[name][0]), "") for name in doubtful}
    except WrongError as error:
        return [_told(session, "", Verdict("regress"), str(error))]
    except UnmeasurableError as error:
        return [_told(session, "", Verdict("invalid"), str(error))]
    return [_told(session, metric, *one) for metric, one in judged.items()]


def outcome(verdicts: Collection[SeriesVerdict]) -> Outcome:
    """Return the joint outcome of a gate."""
    return joint(series.verdict.outcome for series in verdicts)


def _judged(session: Session) -> list[str]:
    """Return the metrics of a session that a gate judges."""
    return [
        metric
        for metric in session.metrics
        if METRICS[metric].kind in JUDGED and metric not in CHUNKS.values()
    ]


def _judge(
    session: Session, metrics: Sequence[str], undecided: Undecided, at_least: int = 0
) -> dict[str, Judged]:
    """Extend the session look by look until every metric is decided.

    Where the host lets no speed count, the speeds alone are invalid.
    """
    exact = [metric for metric in metrics if METRICS[metric].exact]
    noisy = [metric for metric in metrics if not METRICS[metric].exact]
    session.extend(EXACT_PAIRS, exact)
    # Two that differ do not say which is wrong; of three the median does.
    session.extend(EXACT_PAIRS + 1, [metric for metric in exact if not _repeats(session, metric)])
    verdicts: dict[str, Judged] = {metric: (_exact(session, metric), "") for metric in exact}
    try:
        _sample(session, noisy, undecided, at_least)
    except SpoiledError as error:
        return verdicts | {metric: (Verdict("invalid"), str(error)) for metric in noisy}
    return verdicts | {metric: (_noisy(session, metric), "") for metric in noisy}


def _sample(session: Session, noisy: Sequence[str], undecided: Undecided, at_least: int) -> None:
    """Measure until a look decides every metric that differs from process to process."""
    pending, before = list(noisy), 0
    for look in LOOKS:
        if not pending:
            break
        if before:
            undecided(pending, look.pairs - before)
        session.extend(look.pairs, pending)
        before = look.pairs
        pending = [
            metric
            for metric in pending
            if at_look(session.log_ratios(metric), look, *_rule(metric)).outcome == "inconclusive"
        ]
    session.extend(at_least, noisy)


def _noisy(session: Session, metric: str) -> Verdict:
    return judge(session.log_ratios(metric), *_rule(metric))


def _repeats(session: Session, metric: str) -> bool:
    """Tell whether each build gave the same figure each time."""
    return all(len(set(figures)) == 1 for figures in session.figures(metric))


def _exact(session: Session, metric: str) -> Verdict:
    baseline, candidate = (median(figures) for figures in session.figures(metric))
    return judge_exact(baseline, candidate, *_rule(metric), session.chunks(metric))


def _rule(metric: str) -> tuple[Better, float]:
    return METRICS[metric].better, METRICS[metric].tolerance


def _told(session: Session, metric: str, verdict: Verdict, note: str = "") -> SeriesVerdict:
    spread = metric and not METRICS[metric].exact and verdict.outcome != "invalid"
    return SeriesVerdict(
        session.host,
        session.device,
        session.comparison_key,
        session.cell,
        metric,
        verdict,
        session.deviation(metric) if spread else math.nan,
        session.lost[metric] + len(session.failed),
        note,
    )
