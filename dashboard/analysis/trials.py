"""The raw samples of one record, and what they come to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dashboard.analysis import figures, naming
from worker.metrics import typical

MOST = 3  # metrics that a headline takes


@dataclass(frozen=True)
class Trial:
    """One raw sample."""

    metric: str
    trial: int
    value: float
    warmup: bool


def summary(trials: Iterable[Trial]) -> str | None:
    """Write the typical value of one metric's counted trials with their range; None for none."""
    counted = [trial for trial in trials if not trial.warmup]
    if not counted:
        return None
    metric, values = counted[0].metric, [trial.value for trial in counted]
    shown = figures.shown(metric, typical(metric, values), min(values), max(values))
    several = f", {len(values)} trials" if len(values) > 1 else ""
    return f"{naming.metric(metric)} {shown}{several}"


def headline(trials: Sequence[Trial], spoiled: Sequence[str]) -> str:
    """Say what a record came to, and which of its metrics do not count."""
    by_metric: dict[str, list[Trial]] = {}
    for trial in trials:
        by_metric.setdefault(trial.metric, []).append(trial)
    said = [text for found in list(by_metric.values())[:MOST] if (text := summary(found))]
    if not said:
        return "It has no figures."
    if not spoiled:
        return f"{'; '.join(said)}. All of it counts."
    if set(by_metric) <= set(spoiled):
        return f"{'; '.join(said)}. None of it counts."
    names = ", ".join(map(naming.metric, spoiled))
    return f"{'; '.join(said)}. {names} {'does' if len(spoiled) == 1 else 'do'} not count."
