"""What of a cache's decode time is traffic and what is compute, and what another chip would give.

What bandwidth allows is in ``worker.roofline``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import linear_regression, mean, median

from dashboard.analysis import figures, naming
from worker.roofline import Explained, Model, Speed

USUAL_CONTEXT = 4096
USUAL = (0.75, 0.85)  # of the nominal bandwidth, where nothing was measured: research of others


@dataclass(frozen=True)
class Fit:
    """Seconds a token = ``start`` + ``slope`` * context, with standard errors where known.

    ``middle`` and ``freedom`` (points less two) say how the error grows away from the points.
    """

    start: float
    slope: float
    start_error: float | None
    slope_error: float | None
    middle: float = 0.0
    residual: float = 0.0
    points: int = 2

    def at(self, context: float) -> float:
        """Return the seconds a token at a context."""
        return self.start + self.slope * context

    def error_at(self, context: float) -> float | None:
        """Return the standard error there, None for a line through two points."""
        if self.slope_error is None:
            return None
        away = self.slope_error * (context - self.middle)
        return float((self.residual / self.points + away**2) ** 0.5)


def fit(speeds: Iterable[Speed]) -> Fit | None:
    """Fit the time per token over context by least squares; None for fewer than two contexts."""
    points = [(speed.context, 1 / speed.tps) for speed in speeds if speed.tps > 0]
    contexts, seconds = [c for c, _ in points], [s for _, s in points]
    if len(set(contexts)) < 2:  # noqa: PLR2004  a line needs two points
        return None
    slope, start = linear_regression(contexts, seconds)
    freedom = len(points) - 2
    middle = mean(contexts)
    if freedom < 1:
        return Fit(start, slope, None, None, middle, points=len(points))
    spread = sum((c - middle) ** 2 for c in contexts)
    residual = sum((s - start - slope * c) ** 2 for c, s in points) / freedom
    return Fit(
        start,
        slope,
        (residual * (1 / len(points) + middle**2 / spread)) ** 0.5,
        (residual / spread) ** 0.5,
        middle,
        residual,
        len(points),
    )


@dataclass(frozen=True)
class Cost:
    """Where a cache's time goes at one context, in seconds a token, beside fp16.

    ``traffic`` is what fewer bytes save (negative), ``compute`` is everything else it adds; their
    errors are standard errors, None where they are not known.
    """

    context: int
    exact: float
    ours: float
    traffic: float
    compute: float
    traffic_error: float | None = None
    compute_error: float | None = None


def cost(
    exact: Fit,
    ours: Fit,
    *,
    model: Model,
    share: float,
    bandwidth: float,
    context: int,
    doubt: float | None = None,
) -> Cost:
    """Split the difference of two caches into traffic and compute at the measured bandwidth.

    ``doubt`` is the relative error of the bandwidth, None where it was not measured.
    """
    saved = model.kv * (1 - share) * context / bandwidth
    traffic_error = None if doubt is None else abs(saved) * doubt
    errors = [exact.error_at(context), ours.error_at(context), traffic_error]
    known = [error for error in errors if error is not None]
    return Cost(
        context,
        exact.at(context),
        ours.at(context),
        -saved,
        ours.at(context) - exact.at(context) + saved,
        traffic_error,
        sum(error**2 for error in known) ** 0.5 if len(known) == len(errors) else None,
    )


def verdict(split: Cost) -> str:
    """Say in a sentence whether a cache's speed at a context is explained by traffic or compute."""
    ratio = split.exact / split.ours
    if split.compute > abs(split.traffic):
        cause = "compute or dispatch of the codec costs more than the traffic it saves"
    else:
        cause = "the traffic saved outweighs what the codec adds"
    return (
        f"{ratio:.0%} of fp16's speed: {_ms(split.ours)} instead of {_ms(split.exact)} a token, "
        f"{_ms(-split.traffic)} of traffic saved and {_ms(split.compute)} added: {cause}."
    )


@dataclass(frozen=True)
class Forecast:
    """Tokens/s to expect, from the efficiency of devices that were measured."""

    middle: float
    low: float
    high: float
    from_devices: int


def forecast(efficiencies: Sequence[float], bandwidth: float, size: float) -> Forecast:
    """Forecast decode on a chip of nominal ``bandwidth`` for ``size`` bytes a token.

    ``efficiencies`` are speeds times bytes over nominal bandwidth of measured devices with the same
    cache. Fewer than three say little, so the usual range of others is taken in.
    """
    known = [*efficiencies]
    taken = known if len(known) >= 3 else [*known, *USUAL]  # noqa: PLR2004
    rate = bandwidth / size
    return Forecast(rate * median(taken), rate * min(taken), rate * max(taken), len(known))


def headline(rows: Sequence[Explained], bandwidths: Mapping[str, float], cache: str) -> str:
    """Say how many times as fast the fastest device decodes, beside what bandwidth alone gives."""
    same = [row for row in rows if row.speed.cache == cache] or list(rows)
    if not same:
        return "No decode speed of a device whose bandwidth is known."
    contexts = sorted({row.speed.context for row in same})
    place = min(contexts, key=lambda other: (abs(other - USUAL_CONTEXT), other))
    here = sorted(
        (row for row in same if row.speed.context == place), key=lambda row: row.speed.tps
    )
    slow, fast = here[0], here[-1]
    published = "Published: " if fast.speed.published else ""
    reached = f"{fast.utilization:.0%} of what its bandwidth allows"
    short = naming.devices([slow.speed.device, fast.speed.device])
    what = f"at {figures.context(place)} with {naming.cache(fast.speed.cache)}"
    if fast.speed.device == slow.speed.device:
        return (
            f"{published}{short[fast.speed.device]} decodes {fast.speed.tps:.3g} tokens/s {what}: "
            f"{reached}."
        )
    alone = bandwidths[fast.speed.device] / bandwidths[slow.speed.device]
    times = fast.speed.tps / slow.speed.tps
    return (
        f"{published}{short[fast.speed.device]} decodes {times:.2f} times as fast as "
        f"{short[slow.speed.device]} {what}; bandwidth alone: {alone:.2f} times. It reaches "
        f"{reached}, {short[slow.speed.device]} {slow.utilization:.0%}."
    )


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms"
