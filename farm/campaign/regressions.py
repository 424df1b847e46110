"""Regressions: shifts of series at one place are one; it is refuted if the level is back."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median

from db import queries
from db.verdicts import RegressionRow, SeriesKey
from farm.campaign.history import Night
from farm.campaign.lines import Line
from farm.campaign.shifts import Shift
from farm.judge.suspects import NEAR
from farm.judge.verdict import judge_exact
from farm.report.night import WRONG
from worker.metrics import METRICS


def grouped(shifts: Iterable[Shift]) -> list[list[Shift]]:
    """Group shifts of one kind and of different series that happened at the same place."""
    groups: list[list[Shift]] = []
    for shift in sorted(shifts, key=lambda shift: shift.position):
        for group in groups:
            near = abs(median(one.position for one in group) - shift.position) <= NEAR
            alike = group[0].kind == shift.kind
            if near and alike and all(one.line.series != shift.line.series for one in group):
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


def refuted(row: RegressionRow, night: Night, lines: Iterable[Line]) -> bool:
    """Tell whether every series of a regression is back at its former level for five nights."""
    names = {commit.name: i for i, commit in enumerate(night.history)}
    if row.state != "open" or row.good not in names or row.bad not in names:
        return False
    if any(one["metric"] == WRONG for one in row.series):
        return _right_again(row, night)
    keys = {SeriesKey(one["cell"], one["device"], one["metric"]) for one in row.series}
    mine = [line for line in lines if line.series in keys]
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


def _right_again(row: RegressionRow, night: Night) -> bool:
    """Tell whether the newest commit passes its golden vectors wherever one failed them."""
    newest = night.history[-1].build.hash
    done = queries.attempts(night.campaign.engine, [newest])
    right = {(cell, what) for (_, cell, _, what), count in done.items() if count}
    wrong = {cell for cell, what in right if what == "failed"}
    return all(
        one["cell"] not in wrong and {(one["cell"], "ok"), (one["cell"], "invalid")} & right
        for one in row.series
    )
