"""Change points of a series that cannot be measured again: the offline, one-tier detector.

Logs of the values, outliers taken out (Hampel), are cut into levels by exact least squares, as
many as BIC prefers (``farm.judge.segments``). A cut stays if the levels beside it differ by at
least 2 %, if generalised least squares tell them apart under the noise around it and its AR(1)
correlation, and if by rank four of five nights after it lie beyond those before: two states that
come and go, or nights that are slow now and then, do not. Nor does a turn between two levels that
the series has again and again (``farm.judge.states``).

A series that a slope explains better than levels has lost or gained slowly: it is told so, with
the steps that are left beside the slope.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtr

from farm.judge import rank_sum
from farm.judge.noise import (
    Floats,
    correlation_of_residuals,
    despiked,
    middle,
    relative_noise,
    whitened,
)
from farm.judge.ratios import relative
from farm.judge.segments import PENALTY, SHORTEST, around, bic, segmentation
from farm.judge.states import without_states

FEWEST = 8  # points in which a change can be told
WINDOW = 320  # points cut at once: exact segmentation costs the square
MARGIN = 40  # points at an end of a window that its neighbour answers for
LEVEL = 1e-5
RANK_LEVEL = 5e-4
DOMINANCE = 0.8  # how often a night after a step lies beyond one before


@dataclass(frozen=True)
class ChangePoint:
    """Where a new level begins, the log of its ratio to the old one, and the p-value of no step."""

    position: int
    shift: float
    p: float

    @property
    def effect(self) -> float:
        """The relative change, infinite where no float holds it."""
        return relative(self.shift)


@dataclass(frozen=True)
class SlowChange:
    """A steady change from one position to another: its log ratio, and the p-value of none."""

    start: int
    end: int
    shift: float
    p: float

    @property
    def effect(self) -> float:
        """The relative change, infinite where no float holds it."""
        return relative(self.shift)


@dataclass(frozen=True)
class Changes:
    """What happened to a series, in the order of time."""

    steps: tuple[ChangePoint, ...] = ()
    slow: tuple[SlowChange, ...] = ()


def change_points(values: ArrayLike, smallest: float = 0.02) -> list[ChangePoint]:
    """Return the steps of positive values in the order of time; see ``changes``."""
    return list(changes(values, smallest).steps)


def changes(values: ArrayLike, smallest: float = 0.02) -> Changes:
    """Return the steps and the slow changes of positive values.

    ``smallest`` is the least relative change that counts. Long series are searched in overlapping
    windows, and each window answers for its middle.
    """
    logs = np.log(np.asarray(values, float))
    if logs.size < FEWEST:
        return Changes()
    steps: list[ChangePoint] = []
    slow: list[SlowChange] = []
    for start, first, last in _windows(logs.size):
        window = _in_window(logs[start : start + WINDOW], math.log1p(smallest))
        for step in window.steps:
            position = start + step.position
            near = steps and position - steps[-1].position < SHORTEST
            if first <= position < last and not near:
                steps.append(replace(step, position=position))
        slow += [replace(one, start=start, end=start + one.end) for one in window.slow]
    return Changes(tuple(steps), tuple(_joined(slow)))


def _windows(size: int) -> Iterator[tuple[int, int, int]]:
    """Yield the start of each window, and the first and last position that it answers for."""
    starts = [*range(0, size - WINDOW, WINDOW - 2 * MARGIN), max(size - WINDOW, 0)]
    seams = [0, *(start + MARGIN for start in starts[1:]), size]
    return zip(starts, seams, seams[1:], strict=False)


def _joined(slow: Sequence[SlowChange]) -> Iterator[SlowChange]:
    """Make one of slow changes of the same direction in windows that overlap."""
    last: SlowChange | None = None
    for one in slow:
        if last and one.start <= last.end and one.shift * last.shift > 0:
            share = (one.end - last.end) / (one.end - one.start)
            last = SlowChange(
                last.start, one.end, last.shift + share * one.shift, min(last.p, one.p)
            )
            continue
        if last:
            yield last
        last = one
    if last:
        yield last


@dataclass(frozen=True)
class _Window:
    """Logs as they are, logs without outliers, and the noise around each as a share."""

    raw: Floats
    logs: Floats
    noise: Floats
    margin: float


@dataclass(frozen=True)
class _Fit:
    """Levels between cuts, with or without a slope: what it explains, and how surely."""

    cuts: tuple[int, ...]
    shifts: Floats
    p: Floats
    slope: float
    slope_p: float
    bic: float


def _in_window(raw: Floats, margin: float) -> Changes:
    logs = despiked(raw)
    if np.ptp(logs) < margin:
        return Changes()
    logs = logs - middle(logs)
    window = _Window(raw, logs, relative_noise(raw), margin)
    cuts = segmentation(logs / window.noise)
    sloping = _may_slope(window)
    if not cuts and not sloping:
        return Changes()
    level = _pruned(window, cuts, np.zeros((logs.size, 0)))
    if sloping:
        sloped = _pruned(window, cuts, np.linspace(0, 1, logs.size)[:, None])
        counts = abs(sloped.slope) >= margin and sloped.slope_p <= LEVEL
        if counts and sloped.bic < level.bic and not _sharp(window, level):
            slow = SlowChange(0, logs.size - 1, sloped.slope, sloped.slope_p)
            return Changes(_steps(window, cuts, sloped), (slow,))
    return Changes(_steps(window, cuts, level))


def _may_slope(window: _Window) -> bool:
    """Tell, at little cost, whether a slope could count: its thirds differ by half of it."""
    third = window.logs.size // 3
    rise = float(window.logs[-third:].sum() - window.logs[:third].sum()) / third
    return abs(rise) >= window.margin / 2


def _sharp(window: _Window, fit: _Fit) -> bool:
    """Tell whether steps explain their surroundings better than a line through both levels."""
    logs = window.logs / window.noise
    gains = [
        (end - start) * math.log(_beside_line(part) / _squares(part[:middle], part[middle:]))
        - PENALTY * math.log(end - start)
        for start, cut, end in around(fit.cuts, logs.size)
        for part, middle in [(logs[start:end], cut - start)]
    ]
    return sum(gains) > 0


def _squares(*parts: Floats) -> float:
    return max(float(sum(np.sum((part - part.mean()) ** 2) for part in parts)), 1e-12)


def _beside_line(values: Floats) -> float:
    """Return the residual sum of squares of a straight line."""
    nights = np.arange(values.size) - (values.size - 1) / 2
    return _squares(values - nights * float(nights @ values) / float(nights @ nights))


def _steps(window: _Window, cuts: Sequence[int], fit: _Fit) -> tuple[ChangePoint, ...]:
    """Return the cuts of a fit that are no turns of a machine with two states."""
    if not fit.cuts:
        return ()
    kept = without_states(window.logs, cuts, window.margin)
    rows = zip(fit.cuts, fit.shifts.tolist(), fit.p.tolist(), strict=True)
    return tuple(ChangePoint(*row) for row in rows if row[0] in kept)


def _pruned(window: _Window, cuts: Sequence[int], trend: Floats) -> _Fit:
    """Drop the weakest cut until all are large enough and told apart.

    By rank only after that: a cut that the ranks deny, taken for wandering, would hide others.
    """
    fit = _fitted(window, cuts, trend)
    for doubts in (_chances, _mixtures):
        while fit.cuts:
            weakest = _weakest(np.abs(fit.shifts), window.margin, doubts(window, fit, trend))
            if weakest is None:
                break
            kept = [cut for cut in fit.cuts if cut != fit.cuts[weakest]]
            fit = _fitted(window, kept, trend)
    return fit


def _weakest(sizes: Floats, margin: float, doubts: Floats) -> int | None:
    """Return which cut is too small, else which is doubted most, if any is by more than 1."""
    if sizes.min() < margin:
        return int(np.argmin(sizes))
    return int(np.argmax(doubts)) if doubts.max() > 1 else None


def _chances(_window: _Window, fit: _Fit, _trend: Floats) -> Floats:
    """Return how far chance explains each cut."""
    return fit.p / LEVEL


def _mixtures(window: _Window, fit: _Fit, trend: Floats) -> Floats:
    """Return how far the ranks on both sides of each cut are mixed."""
    values = window.raw - fit.slope * trend.sum(axis=1)
    sides = [(values[a:b], values[b:c]) for a, b, c in around(fit.cuts, values.size)]
    mixed = [(1 - rank_sum.dominance(*both)) / (1 - DOMINANCE) for both in sides]
    # So few points may be that none of their orders is so unlikely: then the least likely will do.
    level = max(RANK_LEVEL, 2 / math.comb(values.size, values.size // 2))
    chances = [rank_sum.p_two_sided(*both) / level for both in sides]
    return np.maximum(mixed, chances)


def _fitted(window: _Window, cuts: Sequence[int], trend: Floats) -> _Fit:
    """Fit levels and trend by generalised least squares under AR(1) noise of known shape."""
    bounds = [0, *cuts, window.logs.size]
    levels = np.repeat(np.eye(len(bounds) - 1), np.diff(bounds), axis=0)
    design = np.hstack([levels, trend]) / window.noise[:, None]
    observed = window.logs / window.noise
    left = observed - design @ np.linalg.lstsq(design, observed, rcond=None)[0]
    phi = correlation_of_residuals(left, len(bounds) - 1 + trend.shape[1])
    design, observed = whitened(design, phi), whitened(observed, phi)
    covariance = np.linalg.inv(design.T @ design)
    fitted = covariance @ (design.T @ observed)
    freedom = max(observed.size - design.shape[1] - 1, 1)
    variance = max(float(np.sum((observed - design @ fitted) ** 2)) / freedom, 1e-14)
    contrast = np.diff(np.eye(len(bounds) - 1, design.shape[1]), axis=0)
    contrast = np.vstack([contrast, np.eye(design.shape[1])[len(bounds) - 1 :]])
    errors = np.sqrt(variance * np.einsum("ij,jk,ik->i", contrast, covariance, contrast))
    estimates = contrast @ fitted
    p = 2 * stdtr(freedom, -np.abs(estimates) / errors)
    slopes = estimates[len(cuts) :]
    return _Fit(
        tuple(cuts),
        estimates[: len(cuts)],
        p[: len(cuts)],
        float(slopes.sum()),
        float(p[-1]) if slopes.size else 1.0,
        bic(left, phi, len(cuts) + trend.shape[1]),
    )
