"""The night: measure what is new, ask gates about suspects, group and keep what regressed."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from statistics import median
from typing import Any

from db import verdicts as stored
from db.verdicts import BuildValue, RegressionRow, SeriesKey, SuspectRow
from farm.campaign import campaign as measuring
from farm.campaign.campaign import Campaign
from farm.campaign.gate import Gate, judged
from farm.judge.cell_gate import SeriesVerdict
from farm.judge.change_points import ChangePoint, change_points
from farm.judge.pairs import CHUNKS, Arms
from farm.judge.suspects import BEFORE, NEAR, RECENT, Settled, Suspect, suspects, unsettled
from farm.judge.verdict import judge_exact
from farm.plan.commits import Commit
from farm.report.night import Report
from worker.job import Cell
from worker.metrics import METRICS
from worker.record import Record

ATTEMPTS = 3
WITHDRAWN = {"state": "withdrawn", "reason": "back at the former level"}
WATCHED = ("speed", "energy", "bytes", "quality")


@dataclass(frozen=True)
class Line:
    """One series over the history: positions of commits, and the median value at each.

    Only values under the newest conditions (macOS, mlx, power mode) belong to it, so that a
    change of the environment begins a new line instead of an alarm.
    """

    series: SeriesKey
    host: str
    positions: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True)
class Shift:
    """A suspect that gates have confirmed, between two positions of the history."""

    line: Line
    position: int
    good: int
    bad: int
    effect: float

    @property
    def document(self) -> dict[str, Any]:
        return vars(self.line.series) | {"effect": self.effect}


@dataclass(frozen=True)
class Night:
    """What all steps of a night share."""

    history: Sequence[Commit]
    cells: Sequence[Cell]
    hosts: Sequence[str]
    branch: str
    campaign: Campaign
    gates: dict[tuple[str, str, int, int], list[SeriesVerdict]] = field(default_factory=dict)


def spend(night: Night, recent: Night, repetitions: int, silence: float) -> Report:
    """Measure what ``recent`` lacks, find what shifted in the whole history, and store it.

    With nothing to measure, the newest commit is measured again, so that a farm without commits
    does not fall silent. ``silence`` is the age of the last success, in seconds, that is an alarm.
    """
    engine = night.campaign.engine
    todo = missing(recent, repetitions) or _heartbeat(night, silence)
    records = measure(night, todo)
    found = lines(night)
    before = stored.regressions(engine, night.branch)
    withdrawn = [_changed(night, row, WITHDRAWN) for row in before if refuted(row, night, found)]
    now = time.time()
    groups = grouped(shift for line in found for shift in settle(night, line))
    fresh = [regression(group, night, now) for group in groups]
    fresh = [replace(row, id=stored.record_regression(engine, row)) for row in fresh]
    expired = [_changed(night, row, {"state": "open"}) for row in before if _expired(row, now)]
    done = {row.id for row in (*withdrawn, *expired)}
    success = stored.last_success(engine)
    return Report(
        branch=night.branch,
        newest=night.history[-1].name,
        records=records,
        fresh=[*fresh, *expired],
        known=[row for row in before if row.state != "withdrawn" and row.id not in done],
        withdrawn=withdrawn,
        last_success=success,
        silent=success is None or now - success > silence,
        cells=stored.cells(engine),
    )


def _heartbeat(night: Night, silence: float) -> list[tuple[Commit, Cell, str, int]]:
    success = stored.last_success(night.campaign.engine)
    if success is not None and time.time() - success < silence / 2:
        return []
    return [(night.history[-1], cell, host, 0) for cell in night.cells for host in night.hosts]


def _changed(night: Night, row: RegressionRow, changes: Mapping[str, Any]) -> RegressionRow:
    changed = replace(row, **changes)
    stored.record_regression(night.campaign.engine, changed)
    return changed


def _expired(row: RegressionRow, now: float) -> bool:
    return row.state == "acknowledged" and row.expires is not None and row.expires < now


def missing(night: Night, repetitions: int) -> list[tuple[Commit, Cell, str, int]]:
    """Return what is not yet measured: commit, cell, host and repetition, in a random order.

    Random, so that a drift of the host over the night does not look like one over the commits.
    A job that failed or was disturbed ``ATTEMPTS`` times is not asked for again.
    """
    known = stored.attempts(night.campaign.engine, [c.build.hash for c in night.history])
    todo = []
    for commit in night.history:
        for cell in night.cells:
            for host in night.hosts:
                key = (commit.build.hash, cell.id, host)
                if known[*key, "failed"] + known[*key, "invalid"] < ATTEMPTS:
                    done = known[*key, "ok"]
                    todo += [(commit, cell, host, n) for n in range(done, repetitions)]
    random.Random(night.campaign.run).shuffle(todo)  # noqa: S311  an order, no secret
    return todo


def measure(night: Night, todo: Iterable[tuple[Commit, Cell, str, int]]) -> list[Record]:
    """Measure and store, hosts side by side; return the records."""
    begun = time.perf_counter()
    hosts: dict[str, list[tuple[Commit, Cell, str, int]]] = {}
    for job in todo:
        hosts.setdefault(job[2], []).append(job)
    ahead = [(cell, host) for some in hosts.values() for _, cell, host, _ in some]
    night.campaign.expect(f"{len(ahead)} jobs", ahead)
    with ThreadPoolExecutor(max(len(hosts), 1)) as pool:
        records = [
            record
            for some in pool.map(partial(_on_host, night.campaign), hosts.values())
            for record in some
        ]
    night.campaign.finish(time.perf_counter() - begun)
    return records


def _on_host(campaign: Campaign, todo: Iterable[tuple[Commit, Cell, str, int]]) -> list[Record]:
    records = []
    for commit, cell, host, repetition in todo:
        record = campaign.measure(host)(commit.build, cell, repetition)
        campaign.tell_job(record)
        records.append(record)
    return records


def lines(night: Night) -> list[Line]:
    """Return the stored series of the history under the newest conditions."""
    place = {commit.build.hash: i for i, commit in enumerate(night.history)}
    wanted = {cell.id for cell in night.cells}
    groups: dict[SeriesKey, list[BuildValue]] = {}
    for value in stored.build_values(night.campaign.engine, list(place)):
        metric = METRICS.get(value.series.metric)
        chunk = value.series.metric in CHUNKS.values()
        if metric and metric.kind in WATCHED and value.series.cell in wanted and not chunk:
            groups.setdefault(value.series, []).append(value)
    return [_line(series, values, place) for series, values in groups.items()]


def _line(series: SeriesKey, values: Sequence[BuildValue], place: Mapping[str, int]) -> Line:
    newest = values[-1]
    at: dict[int, list[float]] = {}
    for value in values:
        if value.comparison_key == newest.comparison_key:
            at.setdefault(place[value.build], []).append(value.value)
    positions = tuple(sorted(at))
    return Line(series, newest.host, positions, tuple(median(at[i]) for i in positions))


def settle(night: Night, line: Line) -> list[Shift]:
    """Ask gates about every new suspect of a line that is for the worse."""
    engine, latest = night.campaign.engine, len(night.history) - 1
    names = {commit.name: i for i, commit in enumerate(night.history)}
    settled = [
        Settled(names[row.commit], names[row.asked], row.changed)
        for row in stored.suspects(engine, line.series)
        if row.commit in names and row.asked in names
    ]
    found = []
    for suspect in unsettled(_worse(line), settled, latest):
        shift = _ask(night, line, suspect)
        row = SuspectRow(
            line.series,
            night.history[suspect.position].name,
            night.history[latest].name,
            shift is not None,
        )
        stored.record_suspect(engine, row)
        found += [shift] if shift else []
    return found


def _worse(line: Line) -> list[Suspect]:
    """Return the suspects for the worse, at positions of the history."""
    metric = METRICS[line.series.metric]
    sign = 1 if metric.better == "lower" else -1
    if not metric.exact:
        found = suspects(line.values)
    else:
        recent = len(line.values) - RECENT
        found = [one for one in _exact(line.values, metric.tolerance) if one.position >= recent]
    return [
        Suspect(line.positions[suspect.position], suspect.effect)
        for suspect in found
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
        found = _gate(night, line, good, later)
        if found is None or found.verdict.outcome == "invalid":
            return (
                Shift(line, suspect.position, good, bad, effect) if _alone(line, suspect) else None
            )
        if found.verdict.outcome != "regress":
            return None
        effect = found.verdict.effect
    return Shift(line, suspect.position, good, bad, effect)


def _gate(night: Night, line: Line, old: int, new: int) -> SeriesVerdict | None:
    """Return the verdict on a line; one gate of a cell answers for all its metrics."""
    key = (line.series.cell, line.host, old, new)
    if key not in night.gates:
        (cell,) = (cell for cell in night.cells if cell.id == line.series.cell)
        arms = Arms(night.history[old].build, night.history[new].build)
        gate = Gate(arms, (cell,), (line.host,), secrets.randbelow(2**31))
        campaign = replace(night.campaign, run=measuring.name("gate"))
        night.gates[key] = list(judged(gate, campaign))
    return next((one for one in night.gates[key] if one.metric == line.series.metric), None)


def _alone(line: Line, suspect: Suspect) -> bool:
    """Tell whether the one-tier detector sees the change tonight and saw it the night before."""
    metric = METRICS[line.series.metric]

    def found(values: Sequence[float]) -> Iterable[ChangePoint | Suspect]:
        exact = metric.exact
        return _exact(values, metric.tolerance) if exact else change_points(values)

    return all(
        any(abs(line.positions[one.position] - suspect.position) <= NEAR for one in found(values))
        for values in (line.values, line.values[:-1])
    )


def grouped(shifts: Iterable[Shift]) -> list[list[Shift]]:
    """Group shifts of different series that happened at the same place."""
    groups: list[list[Shift]] = []
    for shift in sorted(shifts, key=lambda shift: shift.position):
        for group in groups:
            near = abs(median(one.position for one in group) - shift.position) <= NEAR
            if near and all(one.line.series != shift.line.series for one in group):
                group.append(shift)
                break
        else:
            groups.append([shift])
    return groups


def regression(group: Sequence[Shift], night: Night, now: float) -> RegressionRow:
    """Make one regression of a group: the culprit is where all its ranges overlap."""
    good, bad = max(shift.good for shift in group), min(shift.bad for shift in group)
    if bad <= good:
        good, bad = min(shift.good for shift in group), max(shift.bad for shift in group)
    return RegressionRow(
        branch=night.branch,
        good=night.history[good].name,
        bad=night.history[bad].name,
        effect=max((shift.effect for shift in group), key=abs),
        series=tuple(shift.document for shift in group),
        found=now,
    )


def refuted(row: RegressionRow, night: Night, found: Iterable[Line]) -> bool:
    """Tell whether every series of a regression is back at its former level for five nights."""
    names = {commit.name: i for i, commit in enumerate(night.history)}
    if row.state != "open" or row.good not in names or row.bad not in names:
        return False
    keys = {SeriesKey(one["cell"], one["device"], one["metric"]) for one in row.series}
    mine = [line for line in found if line.series in keys]
    return bool(mine) and all(_back(line, names[row.good], names[row.bad]) for line in mine)


def _back(line: Line, good: int, bad: int) -> bool:
    pairs = list(zip(line.positions, line.values, strict=True))
    before = [value for position, value in pairs if position <= good]
    after = [value for position, value in pairs if position > bad][-NEAR:]
    if not before or len(after) < NEAR:
        return False
    metric = METRICS[line.series.metric]
    levels = median(before[-2 * NEAR :]), median(after)
    return judge_exact(*levels, metric.better, metric.tolerance / 2).outcome != "regress"
