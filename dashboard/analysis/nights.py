"""What the first page says: which cells have a figure, how long it still takes, what broke."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dashboard.analysis import naming
from db.queries import JobState, Trouble

MOST = 3  # kinds of reasons that the headline names


@dataclass(frozen=True)
class Coverage:
    """How many cells of a run have a figure that counts; a cell on each host counts once.

    ``pending`` are jobs without a record, ``left`` the seconds that they take at the pace so far.
    """

    cells: int
    counted: int
    failed: int
    pending: int
    jobs: int
    left: float | None

    @property
    def done(self) -> int:
        return self.jobs - self.pending


def coverage(states: Sequence[JobState], started: float) -> Coverage:
    """Count a run's cells; repetitions of a cell on one host are one."""
    places = {(state.cell, state.host) for state in states}
    counted = {(state.cell, state.host) for state in states if state.counts}
    failed = {(state.cell, state.host) for state in states if state.status == "failed"}
    begun = [state.started for state in states if state.started is not None]
    pending = sum(state.record is None for state in states)
    return Coverage(
        len(places),
        len(counted),
        len(failed - counted),
        pending,
        len(states),
        _left(begun, started, pending),
    )


def _left(begun: Sequence[float], started: float, pending: int) -> float | None:
    """Return the seconds to come: each job takes as long as those so far, all hosts together."""
    if not pending or len(begun) < 2:  # noqa: PLR2004  one job says nothing of the pace
        return None
    return (max(begun) - min(started, *begun)) / (len(begun) - 1) * pending


def kinds(troubles: Iterable[Trouble]) -> list[tuple[str, int]]:
    """Count the kinds of reasons why records do not count, the commonest first."""
    counted: Counter[str] = Counter()
    for trouble in troubles:
        counted.update(set(kinds_of(trouble)))
    return counted.most_common()


def kinds_of(trouble: Trouble) -> list[str]:
    """Return the kinds of a record's reasons; a failure is a kind of its own."""
    if trouble.status == "failed":
        return ["failed"]
    return [reason.kind for reason in trouble.reasons]


def headline(
    now: Coverage | None, reasons: Sequence[tuple[str, int]], open_regressions: int, running: int
) -> str:
    """Say in two sentences whether all is well: figures, the commonest trouble, regressions."""
    if now is None:
        return "Nothing was measured on this farm yet."
    said = f"{now.counted} of {now.cells} cells have a figure"
    if now.counted < now.cells and reasons:
        said += _because(now, reasons)
    if running and now.pending:
        left = f", about {naming.ago(now.left)} left" if now.left is not None else ""
        said += f" so far; {now.done} of {now.jobs} jobs are done{left}"
    regressions = {0: "No regression is open", 1: "1 regression is open"}
    return (
        f"{said}. {regressions.get(open_regressions, f'{open_regressions} regressions are open')}."
    )


def _because(now: Coverage, reasons: Sequence[tuple[str, int]]) -> str:
    kinds = [kind for kind, _ in reasons]
    if kinds == ["busy"] and not now.pending:
        return ": the machine was busy"
    records = ", ".join(f"{count} {kind}" for kind, count in reasons[:MOST])
    return f" (records that do not count: {records}{', ...' if len(reasons) > MOST else ''})"
