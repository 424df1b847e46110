"""The night: measure what is new, ask gates about suspects, group and keep what regressed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from db import queries, store
from db.verdicts import RegressionRow
from farm.campaign.history import Night, Todo, measure, missing
from farm.campaign.lines import lines
from farm.campaign.regressions import grouped, refuted, regression
from farm.campaign.shifts import settle, slow, wrong
from farm.report.night import Report

WITHDRAWN = {"state": "withdrawn", "reason": "back at the former level"}


def run(night: Night, recent: Night, repetitions: int, silence: float) -> Report:
    """Measure what ``recent`` lacks, find what shifted in the whole history, and store it.

    With nothing to measure, the newest commit is measured again, so that a farm without commits
    does not fall silent. ``silence`` is the age of the last success, in seconds, that is an alarm.
    """
    engine = night.campaign.engine
    todo = missing(recent, repetitions) or _heartbeat(night, silence)
    records = measure(night, todo)
    all_lines = lines(night)
    before = queries.regressions(engine, night.branch)
    withdrawn = [
        _changed(night, row, WITHDRAWN) for row in before if refuted(row, night, all_lines)
    ]
    now = time.time()
    shifts = [
        shift
        for line in all_lines
        for shift in (*settle(night, line, before), *slow(night, line, before))
    ]
    groups = grouped([*shifts, *wrong(night, records, before)])
    fresh = [regression(group, night, now) for group in groups]
    fresh = [replace(row, id=store.record_regression(engine, row)) for row in fresh]
    expired = [_changed(night, row, {"state": "open"}) for row in before if _expired(row, now)]
    done = {row.id for row in (*withdrawn, *expired)}
    success = queries.last_success(engine)
    return Report(
        branch=night.branch,
        newest=night.history[-1].name,
        records=records,
        fresh=[*fresh, *expired],
        known=[row for row in before if row.state != "withdrawn" and row.id not in done],
        withdrawn=withdrawn,
        last_success=success,
        silent=success is None or now - success > silence,
        cells=queries.cells(engine),
    )


def _heartbeat(night: Night, silence: float) -> list[Todo]:
    success = queries.last_success(night.campaign.engine)
    if success is not None and time.time() - success < silence / 2:
        return []
    return [(night.history[-1], cell, host, 0) for cell in night.cells for host in night.hosts]


def _changed(night: Night, row: RegressionRow, changes: Mapping[str, Any]) -> RegressionRow:
    changed = replace(row, **changes)
    store.record_regression(night.campaign.engine, changed)
    return changed


def _expired(row: RegressionRow, now: float) -> bool:
    return row.state == "acknowledged" and row.expires is not None and row.expires < now
