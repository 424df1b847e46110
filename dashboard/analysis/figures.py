"""Numbers for people: units of a readable size, and as many digits as the trials support."""

from __future__ import annotations

import math
from dataclasses import dataclass

from worker.metrics import METRICS

SMALLEST = 1e-4  # below it, decimals hide the figure


@dataclass(frozen=True)
class Scale:
    """How a metric is shown: its figure times ``factor`` is in ``unit``."""

    factor: float
    unit: str


LARGE = {"bytes": ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")), "bytes/s": ((1e9, "GB/s"),)}
SECONDS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))


def scale(metric: str, largest: float) -> Scale:
    """Choose the unit in which figures of a metric up to ``largest`` are shown."""
    unit = METRICS[metric].unit if metric in METRICS else ""
    steps = SECONDS if unit == "s" else LARGE.get(unit, ())
    for size, name in steps:
        if abs(largest) >= size or (size, name) == steps[-1]:
            return Scale(1 / size, name)
    return Scale(1.0, unit)


def with_spread(value: float, low: float, high: float) -> str:
    """Write a figure with half the range of its trials: ``63.6 ± 0.4``.

    The spread has one significant digit, and the figure as many decimals.
    """
    half = (high - low) / 2
    if half <= 0:
        return number(value)
    decimals = max(0, -math.floor(math.log10(half)))
    if decimals > -math.log10(SMALLEST):
        return f"{value:.3g} ± {half:.0e}"
    return f"{value:,.{decimals}f} ± {half:,.{decimals}f}"


def number(value: float) -> str:
    """Write a figure that has no spread with three significant digits, or all of an integer's."""
    if value == 0 or abs(value) >= SMALLEST:
        whole = abs(value) >= 100  # noqa: PLR2004  three digits before the point
        return f"{value:,.0f}" if whole else f"{value:.3g}"
    return f"{value:.1e}"


def shown(metric: str, value: float, low: float, high: float) -> str:
    """Write a figure of a metric with its spread and unit."""
    by = scale(metric, value)
    text = with_spread(value * by.factor, low * by.factor, high * by.factor)
    return f"{text} {by.unit}".strip()


def percent(share: float) -> str:
    """Return a relative change with its sign: ``-3.1%``."""
    return f"{share:+.1%}"


def context(tokens: int | None) -> str:
    """Write a context as people do: ``512``, ``4K``."""
    if tokens is None:
        return "any"
    return f"{tokens // 1024}K" if tokens >= 1024 and tokens % 1024 == 0 else f"{tokens}"  # noqa: PLR2004
