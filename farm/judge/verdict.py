"""The verdict on a series of pairs: whether the candidate is worse than the tolerance allows.

The figure of a pair is the log ratio candidate / baseline, each the median of one fresh process.
The order inside a pair is drawn at random, so under no change the log ratios are symmetric about
zero whatever the host does, and the exact signed-rank bounds hold (``farm.judge.signed_rank``).
They are looked at after 10, 15, 20, 30, 40 and 60 pairs, with levels that keep the error over all
looks below 1 % (a false regress or improve) and 5 % (a pass of a change at the tolerance).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from farm.judge import signed_rank
from farm.judge.ratios import relative
from farm.judge.signed_rank import Floats

Better = Literal["higher", "lower"]
Outcome = Literal["regress", "invalid", "inconclusive", "improve", "pass"]
EXIT_CODES: dict[Outcome, int] = {
    "regress": 1,
    "invalid": 2,
    "inconclusive": 4,
    "improve": 0,
    "pass": 0,
}


@dataclass(frozen=True)
class Look:
    """After so many pairs, the one-sided levels of the bounds that decide."""

    pairs: int
    regress: float
    passing: float


# Derived and checked by farm/bench/look_levels.py.
LOOKS = (
    Look(10, 0.00264, 0.01288),
    Look(15, 0.00175, 0.00987),
    Look(20, 0.00170, 0.01021),
    Look(30, 0.00258, 0.01475),
    Look(40, 0.00262, 0.01581),
    Look(60, 0.00340, 0.02218),
)


CHUNK_LEVEL = 0.01
FAMILY_LEVEL = 0.001  # shared among the cases of a family that cannot be measured again


@dataclass(frozen=True)
class Verdict:
    """The outcome, with the relative change candidate / baseline - 1 and its bounds.

    ``low`` and ``high`` are each wrong in at most 5 % of cases, all looks together; ``p`` is the
    exact two-sided p-value of no change on the pairs used, not corrected for the looks.
    """

    outcome: Outcome
    effect: float = math.nan
    low: float = math.nan
    high: float = math.nan
    pairs: int = 0
    p: float = math.nan


def judge(log_ratios: ArrayLike, better: Better, tolerance: float = 0.02) -> Verdict:
    """Judge log ratios candidate / baseline in the order in which they were measured.

    Stops at the first look that decides; a pass that looks like an improvement goes on until it
    is proven to be one. Fewer pairs than the first look needs are ``invalid``; where none of the
    looks that the data allow decides, the verdict is ``inconclusive``.
    """
    changes = np.asarray(log_ratios, float)
    looks = [look for look in LOOKS if look.pairs <= changes.size]
    verdict = Verdict("invalid", pairs=changes.size)
    for look in looks:
        verdict = at_look(changes, look, better, tolerance)
        if verdict.outcome != "inconclusive":
            return verdict
    # What looked like an improvement, and was not proven to be one, is at least no loss.
    least = 1 / (1 + tolerance) - 1
    within = verdict.low >= least if better == "higher" else verdict.high <= tolerance
    return replace(verdict, outcome="pass") if within else verdict


def at_look(changes: Floats, look: Look, better: Better, tolerance: float) -> Verdict:
    """Judge the log ratios that a look sees."""
    seen = changes[: look.pairs]
    walsh = signed_rank.walsh_averages(seen if better == "higher" else -seen)
    outcome = _outcome(walsh, look, math.log1p(tolerance))
    return _verdict(outcome, walsh if better == "higher" else -walsh[::-1], look)


def judge_exact(
    baseline: float, candidate: float, better: Better, tolerance: float, chunks: ArrayLike = ()
) -> Verdict:
    """Judge a figure that repeats exactly, such as bytes or perplexity.

    Any change over the tolerance counts. ``chunks`` are the gains of the single chunks that the
    figure sums up, if it does: a change that they do not bear out at 1 % is ``inconclusive``.
    """
    difference = candidate - baseline
    change = difference / abs(baseline) if baseline else math.copysign(math.inf, difference)
    change = change if difference else 0.0
    gain = change if better == "higher" else -change
    walsh = signed_rank.walsh_averages(chunks if np.size(chunks) else [gain])
    p = signed_rank.p_two_sided(walsh) if np.size(chunks) else float(not difference)
    outcome: Outcome = "pass" if abs(gain) <= tolerance else "improve" if gain > 0 else "regress"
    if outcome != "pass" and np.size(chunks) >= LOOKS[0].pairs and p > CHUNK_LEVEL:
        outcome = "inconclusive"
    return Verdict(outcome, change, change, change, 1, p)


def confirm(first: Verdict, rerun: Verdict) -> Verdict:
    """Let a regress stand only if an independent re-run of the series says so too."""
    if first.outcome != "regress":
        return first
    refuted = rerun.outcome in {"pass", "improve"}
    outcome: Outcome = (
        "regress" if rerun.outcome == "regress" else "pass" if refuted else "inconclusive"
    )
    if rerun.outcome == "invalid":
        return replace(first, outcome=outcome)
    return replace(rerun, outcome=outcome, pairs=first.pairs + rerun.pairs)


def judge_family(
    cases: Mapping[str, Floats], better: Better, tolerance: float = 0.02
) -> dict[str, Verdict]:
    """Judge cases as one gate, so that a clean family fails at most 0.5 % of the time.

    The pairs that follow a case's first regress are its confirming re-run. Where they decide
    nothing, all its pairs together must be significant at 0.1 % shared among the cases.
    """
    return {
        name: _confirmed(changes, better, tolerance, FAMILY_LEVEL / len(cases))
        for name, changes in cases.items()
    }


def _confirmed(changes: Floats, better: Better, tolerance: float, level: float) -> Verdict:
    first = judge(changes, better, tolerance)
    if first.outcome != "regress":
        return first
    verdict = confirm(first, judge(changes[first.pairs :], better, tolerance))
    losses = -changes if better == "higher" else changes
    walsh = signed_rank.walsh_averages(losses[: 2 * LOOKS[-1].pairs])
    if verdict.outcome == "inconclusive" and signed_rank.p_greater(walsh) <= level:
        return replace(verdict, outcome="regress")
    return verdict


def joint(outcomes: Iterable[Outcome]) -> Outcome:
    """Return the worst outcome: a cache that is faster but loses quality has regressed."""
    given = set(outcomes)
    return next((outcome for outcome in EXIT_CODES if outcome in given), "invalid")


def _outcome(walsh: Floats, look: Look, margin: float) -> Outcome:
    """Decide on gains at a look; ``margin`` is the tolerance as a log ratio."""
    if signed_rank.lower_bound(walsh, look.passing) >= -margin:
        if signed_rank.estimate(walsh) < margin:
            return "pass"
        proven = signed_rank.lower_bound(walsh, look.regress) > 0
        return "improve" if proven else "inconclusive"
    return "regress" if signed_rank.upper_bound(walsh, look.regress) < 0 else "inconclusive"


def _verdict(outcome: Outcome, walsh: Floats, look: Look) -> Verdict:
    return Verdict(
        outcome,
        effect=relative(signed_rank.estimate(walsh)),
        low=relative(signed_rank.lower_bound(walsh, look.passing)),
        high=relative(signed_rank.upper_bound(walsh, look.passing)),
        pairs=look.pairs,
        p=signed_rank.p_two_sided(walsh),
    )
