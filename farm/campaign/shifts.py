"""Shifts of a night: suspects of its lines, slow losses and wrong results, settled by gates."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

from db import queries, store
from db.verdicts import RegressionRow, SeriesKey, SuspectRow
from farm.campaign import campaign as measuring
from farm.campaign.gate import Gate, judged
from farm.campaign.history import Night
from farm.campaign.lines import Line
from farm.judge.cell_gate import SeriesVerdict
from farm.judge.change_points import ChangePoint, SlowChange, change_points, changes
from farm.judge.pairs import Arms
from farm.judge.suspects import BEFORE, NEAR, RECENT, Settled, Suspect, suspects, unsettled
from farm.judge.verdict import judge_exact
from farm.plan.commits import Commit
from farm.report.commit_line import SHORT
from farm.report.night import WRONG
from worker.metrics import METRICS
from worker.record import Record

Kind = Literal["step", "slow", "wrong"]


@dataclass(frozen=True)
class Shift:
    """A suspect that gates have confirmed, between two positions of the history.

    A slow one has no single step there.
    """

    line: Line
    position: int
    good: int
    bad: int
    effect: float
    kind: Kind = "step"

    @property
    def document(self) -> dict[str, Any]:
        kind = {} if self.kind == "step" else {"kind": self.kind}
        return vars(self.line.series) | {"effect": self.effect} | kind


def settle(night: Night, line: Line, known: Iterable[RegressionRow]) -> list[Shift]:
    """Ask gates about every new suspect of a line that is for the worse.

    One within a slow loss that was told already is no news.
    """
    latest, told = len(night.history) - 1, _told_slow(night, line, known)
    new = [one for one in _worse(line) if not any(a <= one.position <= b for a, b in told)]
    shifts = []
    for suspect in unsettled(new, _settled(night, line), latest):
        shift = _ask(night, line, suspect)
        _answered(night, line, suspect.position, changed=shift is not None)
        shifts += [shift] if shift else []
    return shifts


def slow(night: Night, line: Line, known: Iterable[RegressionRow]) -> list[Shift]:
    """Ask a gate about a slow loss: the first commit of it against the newest.

    What a regression of the series has told already is not told again.
    """
    metric = METRICS[line.series.metric]
    if metric.exact:
        return []
    rest = _after(line, max((end for _, end in _told_slow(night, line, known)), default=-1))
    return [
        shift
        for one in changes(rest.values).slow
        if (one.shift < 0) == (metric.better == "higher")
        for shift in _ask_slow(night, rest, one)
    ]


def _ask_slow(night: Night, line: Line, loss: SlowChange) -> list[Shift]:
    good, latest = line.positions[loss.start], len(night.history) - 1
    if not unsettled([Suspect(good, loss.effect)], _settled(night, line), latest):
        return []
    answer = _gate(night, line, good, latest)
    if answer is None or answer.verdict.outcome == "invalid":
        changed, effect = _slow_alone(line), loss.effect
    else:
        changed, effect = answer.verdict.outcome == "regress", answer.verdict.effect
    _answered(night, line, good, changed=changed)
    return [Shift(line, good, good, latest, effect, "slow")] if changed else []


def _slow_alone(line: Line) -> bool:
    """Tell whether the slow loss was there the night before, too."""
    return bool(changes(line.values[:-1]).slow)


def _told_slow(night: Night, line: Line, known: Iterable[RegressionRow]) -> list[tuple[int, int]]:
    """Return where the slow losses lie that were told of a line: first and last position."""
    names = {commit.name: i for i, commit in enumerate(night.history)}
    return [
        (names.get(row.good, -1), names.get(row.bad, -1))
        for row in known
        for one in row.series
        if one.get("kind") == "slow" and line.series == _key(one)
    ]


def _after(line: Line, first: int) -> Line:
    """Return what a line has from a position on."""
    points = [
        (position, value)
        for position, value in zip(line.positions, line.values, strict=True)
        if position >= first
    ]
    return replace(
        line,
        positions=tuple(position for position, _ in points),
        values=tuple(value for _, value in points),
    )


def wrong(night: Night, records: Iterable[Record], known: Iterable[RegressionRow]) -> list[Shift]:
    """Ask gates about commits that failed their golden vectors where an older one passed."""
    places = {commit.build.hash: i for i, commit in enumerate(night.history)}
    told = {_key(one) for row in known if row.state != "withdrawn" for one in row.series}
    failed: dict[Line, set[int]] = {}
    for record in records:
        if record.failure and record.failure.kind == "wrong":
            key = SeriesKey(
                record.job.cell.id, str(record.environment.facts.get("device", "")), WRONG
            )
            failed.setdefault(Line(key, record.job.host, (), ()), set()).add(
                places[record.job.build.hash]
            )
    return [
        shift
        for line, positions in failed.items()
        if not _told(line.series, told)
        for shift in _ask_wrong(night, line, sorted(positions))
    ]


def _ask_wrong(night: Night, line: Line, positions: Sequence[int]) -> list[Shift]:
    """Ask about the first commit of those that is wrong after one that is right."""
    done = queries.attempts(night.campaign.engine, [commit.build.hash for commit in night.history])
    right = [
        i
        for i, commit in enumerate(night.history)
        if any(
            done[commit.build.hash, line.series.cell, line.host, how] for how in ("ok", "invalid")
        )
    ]
    for bad in positions:
        before = [good for good in right if good < bad]
        if before:
            answer = _gate(night, line, before[-1], bad)
            if answer is not None and answer.verdict.outcome == "regress":
                # The gate asked the host; a record that failed may not know its device.
                named = replace(line, series=replace(line.series, device=answer.device))
                return [Shift(named, bad, before[-1], bad, -1.0, "wrong")]
            return []
    return []


def _told(series: SeriesKey, told: Collection[SeriesKey]) -> bool:
    return any(series in {one, replace(one, device="")} for one in told)


def _key(one: Mapping[str, Any]) -> SeriesKey:
    return SeriesKey(one["cell"], one["device"], one["metric"])


def _answered(night: Night, line: Line, position: int, *, changed: bool) -> None:
    """Keep what a gate answered for a suspect."""
    commit, asked = night.history[position].name, night.history[-1].name
    row = SuspectRow(line.series, commit, asked, changed)
    store.record_suspect(night.campaign.engine, row)


def _settled(night: Night, line: Line) -> list[Settled]:
    """Return what gates have answered for a line."""
    names = {commit.name: i for i, commit in enumerate(night.history)}
    return [
        Settled(names[row.commit], names[row.asked], row.changed)
        for row in queries.suspects(night.campaign.engine, line.series)
        if row.commit in names and row.asked in names
    ]


def _worse(line: Line) -> list[Suspect]:
    """Return the suspects for the worse, at positions of the history."""
    metric = METRICS[line.series.metric]
    sign = 1 if metric.better == "lower" else -1
    if not metric.exact:
        noticed = suspects(line.values)
    else:
        recent = len(line.values) - RECENT
        noticed = [one for one in _exact(line.values, metric.tolerance) if one.position >= recent]
    return [
        Suspect(line.positions[suspect.position], suspect.effect)
        for suspect in noticed
        if sign * suspect.effect > 0
    ]


def _exact(values: Sequence[float], tolerance: float) -> list[Suspect]:
    """Return each change over the tolerance of figures that repeat exactly."""
    effects = [judge_exact(*both, "higher", tolerance).effect for both in pairwise(values)]
    return [
        Suspect(place, effect)
        for place, effect in enumerate(effects, start=1)
        if abs(effect) > tolerance
    ]


def _ask(night: Night, line: Line, suspect: Suspect) -> Shift | None:
    """Gate from before the suspect to the newest commit, and again to just after it.

    The first says that the change is still there, the second that it is here. A gate without a
    verdict, as when the old build no longer works, leaves it to the detector of the line alone,
    which must have found the change on two nights.
    """
    latest, effect = len(night.history) - 1, suspect.effect
    sharp = METRICS[line.series.metric].exact
    good = max(suspect.position - (1 if sharp else BEFORE), 0)
    bad = min(suspect.position + (0 if sharp else NEAR), latest)
    for later in dict.fromkeys((latest, bad)):
        answer = _gate(night, line, good, later)
        if answer is None or answer.verdict.outcome == "invalid":
            return (
                Shift(line, suspect.position, good, bad, effect) if _alone(line, suspect) else None
            )
        if answer.verdict.outcome != "regress":
            return None
        effect = answer.verdict.effect
    return Shift(line, suspect.position, good, bad, effect)


def _gate(night: Night, line: Line, old: int, new: int) -> SeriesVerdict | None:
    """Return the verdict on a line; one gate of a cell answers for all its metrics."""
    key = (line.series.cell, line.host, old, new)
    if key not in night.gates:
        (cell,) = (cell for cell in night.cells if cell.id == line.series.cell)
        arms = Arms(night.history[old].build, night.history[new].build)
        gate = Gate(arms, (cell,), (line.host,), night.campaign.seed(*key))
        campaign = replace(night.campaign, run=measuring.name("gate"))
        campaign.tell(f"{line.host}: {_question(line, night.history[old], night.history[new])}")
        night.gates[key] = list(judged(gate, campaign))
    wanted = "" if line.series.metric == WRONG else line.series.metric
    return next((one for one in night.gates[key] if one.metric == wanted), None)


def _question(line: Line, old: Commit, new: Commit) -> str:
    """Say what a gate is asked: whether a series is worse at one commit than at another."""
    wrong = line.series.metric == WRONG
    what = "a wrong result" if wrong else f"worse {line.series.metric}"
    return f"{what} at {new.name[:SHORT]} than at {old.name[:SHORT]}? A gate of the two decides"


def _alone(line: Line, suspect: Suspect) -> bool:
    """Tell whether the one-tier detector sees the change tonight and saw it the night before."""
    metric = METRICS[line.series.metric]

    def seen(values: Sequence[float]) -> Iterable[ChangePoint | Suspect]:
        exact = metric.exact
        return _exact(values, metric.tolerance) if exact else change_points(values)

    return all(
        any(abs(line.positions[one.position] - suspect.position) <= NEAR for one in seen(values))
        for values in (line.values, line.values[:-1])
    )
