"""What of a cache's decode time is traffic and what is compute, and what another chip would give.

What bandwidth allows is in ``worker.roofline``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import linear_regression, mean, median

from worker.roofline import Model, Speed

USUAL = (0.75, 0.85)  # of the nominal bandwidth, where nothing was measured: research of others


@dataclass(frozen=True)
class Line:
    """Seconds a token = ``start`` + ``slope`` * context, with standard errors where known."""

    start: float
    slope: float
    start_error: float | None
    slope_error: float | None


def fit(speeds: Iterable[Speed]) -> Line | None:
    """Fit the time per token over context by least squares; None for fewer than two contexts."""
    points = [(speed.context, 1 / speed.tps) for speed in speeds if speed.tps > 0]
    contexts, seconds = [c for c, _ in points], [s for _, s in points]
    if len(set(contexts)) < 2:  # noqa: PLR2004  a line needs two points
        return None
    slope, start = linear_regression(contexts, seconds)
    freedom = len(points) - 2
    if freedom < 1:
        return Line(start, slope, None, None)
    middle = mean(contexts)
    spread = sum((c - middle) ** 2 for c in contexts)
    residual = sum((s - start - slope * c) ** 2 for c, s in points) / freedom
    return Line(
        start,
        slope,
        (residual * (1 / len(points) + middle**2 / spread)) ** 0.5,
        (residual / spread) ** 0.5,
    )


@dataclass(frozen=True)
class Cost:
    """Where a cache's time goes at one context, in seconds a token, beside fp16.

    ``traffic`` is what fewer bytes save (negative), ``compute`` is everything else it adds.
    """

    context: int
    exact: float
    ours: float
    traffic: float
    compute: float


def cost(
    exact: Line, ours: Line, *, model: Model, share: float, bandwidth: float, context: int
) -> Cost:
    """Split the difference of two caches into traffic and compute at the measured bandwidth."""
    times = [line.start + line.slope * context for line in (exact, ours)]
    saved = model.kv * (1 - share) * context / bandwidth
    return Cost(context, times[0], times[1], -saved, times[1] - times[0] + saved)


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
    """Forecast decode with fp16 KV on a chip of nominal ``bandwidth`` for ``size`` bytes a token.

    ``efficiencies`` are speeds times bytes over nominal bandwidth of measured devices. Fewer than
    three say little, so the usual range of others is taken in.
    """
    known = [*efficiencies]
    taken = known if len(known) >= 3 else [*known, *USUAL]  # noqa: PLR2004
    rate = bandwidth / size
    return Forecast(rate * median(taken), rate * min(taken), rate * max(taken), len(known))


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms"
