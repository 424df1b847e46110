"""What a night found, for people (Markdown) and for programs (JSON)."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from db.verdicts import RegressionRow
from farm.report.table import percent
from worker.job import Cell
from worker.record import Record

SHORT = 10  # characters of a commit's name


@dataclass(frozen=True)
class Report:
    """A night: what was measured, and the regressions by what became of them."""

    branch: str
    newest: str
    records: Sequence[Record]
    fresh: Sequence[RegressionRow]
    known: Sequence[RegressionRow]
    withdrawn: Sequence[RegressionRow]
    last_success: float | None
    silent: bool
    cells: Mapping[str, Cell]

    @property
    def failures(self) -> list[str]:
        return [
            f"{record.place}: {record.job.build.commit or record.job.build.hash}: "
            f"{record.job.cell.benchmark}: {record.failure.message}"
            for record in self.records
            if record.failure
        ]


def markdown(report: Report, now: float) -> str:
    """Return the report, regressions first."""
    count = len(report.fresh)
    head = f"{count or 'no'} new regression{'s' if count > 1 else ''}"
    parts = [f"## Nightly of {report.branch} at {report.newest[:SHORT]}: {head}"]
    if report.silent:
        parts.append(f"**The farm is silent**: {_age(report.last_success, now)}.")
    parts += [f"### Regression {r.id}\n\n{_described(r, report.cells)}" for r in report.fresh]
    for title, rows in (("Known", report.known), ("Withdrawn", report.withdrawn)):
        parts += [f"### {title}"] if rows else []
        parts += [f"- {row.id} ({row.state}): {_range(row)}, {percent(row.effect)}" for row in rows]
    parts += [f"- failed: {failure}" for failure in report.failures]
    parts.append(f"{len(report.records)} jobs measured; {_age(report.last_success, now)}.")
    return "\n\n".join(parts) + "\n"


def document(report: Report) -> dict[str, Any]:
    """Return a JSON document."""
    return {
        "branch": report.branch,
        "newest": report.newest,
        "measured": len(report.records),
        "failures": report.failures,
        "silent": report.silent,
        "last_success": report.last_success,
        "new": [vars(row) for row in report.fresh],
        "known": [vars(row) for row in report.known],
        "withdrawn": [vars(row) for row in report.withdrawn],
    }


def _described(row: RegressionRow, cells: Mapping[str, Cell]) -> str:
    series = [
        f"- {one['metric']} of {_cell(cells[one['cell']])} on {one['device']}: "
        f"{percent(one['effect'])}"
        for one in row.series
    ]
    first = row.series[0]
    options = f"--cell {first['cell']} --metric {first['metric']}"
    head = (
        f"Between {_range(row)}. Find the commit with "
        f"`farm bisect {row.good[:SHORT]} {row.bad[:SHORT]} {options}`, or accept it with "
        f"`farm nightly --acknowledge {row.id} --reason WHY`."
    )
    return "\n".join([head, "", *series])


def _range(row: RegressionRow) -> str:
    return f"{row.good[:SHORT]} and {row.bad[:SHORT]}"


def _cell(cell: Cell) -> str:
    context = f"@{cell.params['context']}" if "context" in cell.params else ""
    return f"{cell.benchmark}{context} {cell.cache.label if cell.cache else ''}".rstrip()


def _age(moment: float | None, now: float) -> str:
    if moment is None:
        return "nothing was ever measured"
    return f"last success {(now - moment) / 3600:.1f} hours ago ({time.ctime(moment)})"
