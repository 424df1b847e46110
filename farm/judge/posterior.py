"""Noisy bisection: which commit made a series worse, and how sure that is.

The state is a probability for each commit of being the culprit (Burnashev and Zigangirov's
posterior bisection, with Gaussian evidence instead of coin flips). A probe measures pairs of one
commit against the known good one; the next probe goes where it splits the probability in half.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from farm.judge.signed_rank import Floats

#: What a probe of a commit tells: the log ratios of pairs of it against the good commit, whether it
#: is changed where that is exact, or None if it can't be measured.
Evidence = Floats | bool | None

#: Probes commits at once, one on each host.
Probe = Callable[[Sequence[str]], Mapping[str, Evidence]]

CERTAIN = 0.95
PAIRS = 10  # of one probe
OUTLIER = 0.01  # probability that a probe tells nothing at all
FEWEST = 8  # values from which a step can be told from noise
TEMPER = 0.5  # how far values of different nights are trusted


@dataclass
class Posterior:
    """The probability of each commit to be the culprit; ``commits`` are in order, after the good.

    ``shift`` is the log ratio bad / good, with the standard deviation ``error``. Raises ValueError
    for figures that are not finite: they would make every probability unknown.
    """

    commits: Sequence[str]
    shift: float
    error: float
    logs: Floats = field(default_factory=lambda: np.zeros(0))

    def __post_init__(self) -> None:
        if not (math.isfinite(self.shift) and math.isfinite(self.error)):
            raise ValueError(f"shift {self.shift} with error {self.error}")
        if not self.logs.size:
            self.logs = np.full(len(self.commits), -math.log(len(self.commits)))

    @property
    def probabilities(self) -> Floats:
        return np.exp(self.logs - logsumexp(self.logs))

    @property
    def best(self) -> tuple[str, float]:
        """Return the likeliest culprit and its probability."""
        place = int(np.argmax(self.logs))
        return self.commits[place], float(self.probabilities[place])

    def exclude(self, commits: Collection[str]) -> None:
        """Rule out commits, such as those with the same bytes as the one before."""
        for place, commit in enumerate(self.commits):
            if commit in commits:
                self.logs[place] = -np.inf

    def observe(self, commit: str, log_ratios: Floats) -> None:
        """Learn from pairs of ``commit`` against the good commit."""
        if not np.isfinite(log_ratios).all():
            raise ValueError(f"pairs of {commit} that are not finite")
        position = self.commits.index(commit)
        centre, error = _summary(log_ratios)
        after = _normal(centre - self.shift, math.hypot(error, self.error))
        before = _normal(centre, error)
        floor = math.log(OUTLIER) + max(after, before)
        changed = np.arange(len(self.commits)) <= position
        self.logs = self.logs + np.logaddexp(np.where(changed, after, before), floor)

    def know(self, commit: str, *, changed: bool) -> None:
        """Learn for sure whether the change is there at ``commit``."""
        at = np.arange(len(self.commits)) <= self.commits.index(commit)
        logs = np.where(at == changed, self.logs, -np.inf)
        # Where what was believed of other nights leaves nothing, the probe alone counts.
        self.logs = logs if np.isfinite(logs).any() else np.where(at == changed, 0.0, -np.inf)

    def believe(self, values: Mapping[str, Sequence[float]], good: Sequence[float]) -> None:
        """Learn, with reserve, from logs of values that were measured on other nights.

        ``good`` are those of the good commit. Their levels and noise are unknown, so each
        culprit is scored by the residual sum of squares of its step.
        """
        logs = [(-1, value) for value in good]
        logs += [(i, value) for i, c in enumerate(self.commits) for value in values.get(c, ())]
        if len(logs) < FEWEST:
            return
        places, figures = (np.array(column) for column in zip(*logs, strict=True))
        squares = [_step_residual(figures, places >= i) for i in range(len(self.commits))]
        power = TEMPER * (figures.size - 2) / 2
        self.logs = self.logs - power * np.log(np.maximum(squares, 1e-12))

    def next(self, count: int, skipped: Collection[str] = ()) -> list[str]:
        """Return commits to probe at once, where they split the probability evenly."""
        cumulative = np.cumsum(self.probabilities)
        chosen: list[str] = []
        for part in range(1, count + 1):
            # A probe of commit i asks whether the culprit is i or before.
            order = np.argsort(np.abs(cumulative - part / (count + 1)), kind="stable")
            free = [
                self.commits[i]
                for i in order
                if self.commits[i] not in {*skipped, *chosen} and i < len(self.commits) - 1
            ]
            chosen += free[:1]
        return chosen


@dataclass(frozen=True)
class Found:
    """The culprit, how sure that is, and what it took.

    ``suspects`` are the commits that together are at least 95 % sure; more than one only if
    commits between them can't be measured or the probes ran out.
    """

    culprit: str
    confidence: float
    suspects: tuple[str, ...]
    probes: int
    skipped: tuple[str, ...]


def bisect(posterior: Posterior, probe: Probe, hosts: int = 1, most: int = 20) -> Found:
    """Probe until a commit is 95 % sure, nothing is left to learn, or ``most`` probes are done."""
    probes = 0
    skipped: list[str] = []
    while posterior.best[1] < CERTAIN and probes < most:
        chosen = posterior.next(hosts, skipped)
        if not chosen or _settled(posterior, skipped):
            break
        for commit, evidence in probe(chosen).items():
            if evidence is None:
                skipped.append(commit)
                continue
            if isinstance(evidence, bool):
                posterior.know(commit, changed=evidence)
            else:
                posterior.observe(commit, evidence)
            probes += 1
    return Found(*posterior.best, _credible(posterior), probes, tuple(skipped))


def _settled(posterior: Posterior, skipped: Collection[str]) -> bool:
    """Tell whether the suspects left can't be told apart: all but the last are unmeasurable."""
    suspects = _credible(posterior)
    return len(suspects) > 1 and all(commit in skipped for commit in suspects[:-1])


def _credible(posterior: Posterior) -> tuple[str, ...]:
    order = np.argsort(-posterior.logs, kind="stable")
    needed = int(np.searchsorted(np.cumsum(posterior.probabilities[order]), CERTAIN)) + 1
    return tuple(posterior.commits[i] for i in sorted(order[:needed]))


def _summary(log_ratios: Floats) -> tuple[float, float]:
    """Return the median and its standard error, widened for so few pairs."""
    centre = float(np.median(log_ratios))
    spread = 1.4826 * float(np.median(np.abs(log_ratios - centre)))
    spread = max(spread, float(np.std(log_ratios)) / 2, 1e-4)
    return centre, 1.4 * spread / math.sqrt(log_ratios.size)


def _normal(residual: float, error: float) -> float:
    return -((residual / error) ** 2) / 2 - math.log(error)


def _step_residual(figures: Floats, changed: NDArray[np.bool_]) -> float:
    parts = [figures[changed], figures[~changed]]
    return float(sum(((part - part.mean()) ** 2).sum() for part in parts if part.size))
