"""Verdicts counted, for the gate's own error rates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, case, func, select

from db.models import Record, Run, Series, Verdict

#: Of the gate: at most this share of false alarms on identical code, and how sure a breach must be.
PROMISE = 0.005
SURE = 0.05


@dataclass(frozen=True)
class GateTally:
    """How often gates of one kind judged one metric on one device, and called it a regression.

    ``injected`` is the slowdown that was put in, 0 for a build against itself; ``deviation`` the
    largest between processes of one build.
    """

    device: str
    metric: str
    injected: float
    judged: int
    regressed: int
    inconclusive: int
    invalid: int
    deviation: float = 0.0

    @property
    def trials(self) -> int:
        """How many of them came to a verdict."""
        return self.judged - self.invalid

    @property
    def breaks_promise(self) -> bool:
        """Whether false alarms are more than ``PROMISE`` allows, 95 % sure: the one such rule."""
        return self.injected == 0 and at_least(self.regressed, self.trials, PROMISE) < SURE


def at_least(hits: int, trials: int, share: float) -> float:
    """Return how probable so many hits are where each trial hits with this probability."""
    logs = (
        math.lgamma(trials + 1)
        - math.lgamma(n + 1)
        - math.lgamma(trials - n + 1)
        + n * math.log(share)
        + (trials - n) * math.log1p(-share)
        for n in range(hits)
    )
    return 1 - math.fsum(map(math.exp, logs))


def gate_tallies(engine: Engine) -> tuple[GateTally, ...]:
    """Count the verdicts on builds against themselves and on injected slowdowns."""
    injected = func.coalesce(Verdict.injected, 0.0)
    query = (
        select(
            Verdict.device,
            Verdict.metric,
            injected,
            func.count(),
            *(
                func.sum(case((Verdict.outcome == outcome, 1), else_=0))
                for outcome in ("regress", "inconclusive", "invalid")
            ),
            func.coalesce(func.max(Verdict.deviation), 0.0),
        )
        .where(Verdict.injected.is_not(None) | (Verdict.baseline == Verdict.candidate))
        .group_by(Verdict.device, Verdict.metric, injected)
        .order_by(Verdict.device, Verdict.metric, injected)
    )
    with engine.connect() as connection:
        return tuple(GateTally(*row) for row in connection.execute(query))


def noises(engine: Engine) -> tuple[tuple[str, str, float], ...]:
    """Return (device, metric, noise) of every series whose noise is known."""
    query = select(Series.device, Series.metric, Series.noise).where(Series.noise.is_not(None))
    with engine.connect() as connection:
        rows: list[Any] = list(connection.execute(query))
        return tuple((row[0], row[1], row[2]) for row in rows)


@dataclass(frozen=True)
class RecordCounts:
    """How many records this farm measured, and how many others did."""

    ours: int
    imported: int


def counted_records(engine: Engine) -> RecordCounts:
    """Count the records: what those that do not count are a share of."""
    of_others = select(Run.id).where(Run.origin.is_not(None))
    imported = select(func.count()).select_from(Record).where(Record.run_id.in_(of_others))
    with engine.connect() as connection:
        # Nothing deletes records, so their last number is their count, and read at once.
        last = connection.execute(select(func.coalesce(func.max(Record.id), 0))).scalar_one()
        others = connection.execute(imported).scalar_one()
    return RecordCounts(last - others, others)
