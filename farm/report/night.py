"""What a night found, for people (Markdown) and for programs (JSON)."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from db.verdicts import RegressionRow
from farm.report.commit_line import SHORT, Known, commit_markdown
from farm.report.markdown import quoted
from farm.report.table import percent
from worker.job import Cell
from worker.machine.reasons import counts
from worker.record import Record

WRONG = "golden_vectors"  # stands for a metric where a commit fails them


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
    said: Mapping[str, Known] = field(default_factory=dict)

    @property
    def fruitless(self) -> bool:
        """Whether something was measured, and none of its figures counts."""
        return bool(self.records) and not any(map(_counts, self.records))

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
    if report.newest in report.said:
        newest = commit_markdown(report.newest, report.said[report.newest])
        parts.append(f"Newest commit: {newest}.")
    if report.fruitless:
        parts.append(f"**No figure of this night counts**: {_spoiled(report.records)}.")
    if report.silent:
        parts.append(f"**The farm is silent**: {_age(report.last_success, now)}.")
    parts += [f"### Regression {r.id}\n\n{described(r, report)}" for r in report.fresh]
    for title, rows in (("Known", report.known), ("Withdrawn", report.withdrawn)):
        parts += [f"### {title}"] if rows else []
        parts += [
            f"- {row.id} ({row.state}): {_range(row, report.said)}, {_worst(row)}" for row in rows
        ]
    parts += [f"- failed: {quoted(failure)}" for failure in report.failures]
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
        "fruitless": report.fruitless,
        "last_success": report.last_success,
        "new": [vars(row) for row in report.fresh],
        "known": [vars(row) for row in report.known],
        "withdrawn": [vars(row) for row in report.withdrawn],
    }


def summary(row: RegressionRow, report: Report) -> str:
    """Say in one line what became worse, most of all, and since when."""
    worst = max(row.series, key=lambda one: abs(one["effect"]))
    more = f" and {len(row.series) - 1} more" if len(row.series) > 1 else ""
    what = f"{worst['metric']} of {report.cells[worst['cell']].label} on {worst['device']}"
    return f"Since {row.bad[:SHORT]}: {what}: {_size(worst, worst['effect'])}{more}"


def described(row: RegressionRow, report: Report) -> str:
    """Return the range of a regression, what finds and what accepts it, and its series."""
    series = [
        f"- {one['metric']} of {report.cells[one['cell']].label} on {one['device']}: "
        f"{_size(one, one['effect'])}"
        for one in row.series
    ]
    first = row.series[0]
    metric = "" if first["metric"] == WRONG else f" --metric {first['metric']}"
    options = f"--cell {first['cell']}{metric}"
    head = (
        f"Between {_range(row, report.said)}. Find the commit with "
        f"`farm bisect {row.good[:SHORT]} {row.bad[:SHORT]} {options}`, or accept it with "
        f"`farm nightly --acknowledge {row.id} --reason WHY`."
    )
    return "\n".join([head, "", *series])


def _worst(row: RegressionRow) -> str:
    return _size(row.series[0], row.effect) if row.series else percent(row.effect)


def _size(one: Mapping[str, Any], effect: float) -> str:
    """Say how much worse a series of a regression is, and how it became so."""
    if one["metric"] == WRONG:
        return "the newer commit fails them, the older one passes"
    slowly = ", slowly: no single step" if one.get("kind") == "slow" else ""
    return f"{percent(effect)}{slowly}"


def _range(row: RegressionRow, said: Mapping[str, Known]) -> str:
    return " and ".join(commit_markdown(name, said.get(name)) for name in (row.good, row.bad))


def _counts(record: Record) -> bool:
    """Tell whether some figure of a record counts."""
    measured = {sample.metric for sample in record.samples if not sample.warmup}
    return record.status == "ok" and any(counts(metric, record.invalid) for metric in measured)


def _spoiled(records: Sequence[Record]) -> str:
    """Say why, a kind of reason at a time with its count."""
    kinds = Counter(kind for record in records for kind in {one.kind for one in record.invalid})
    kinds.update("failed" for record in records if record.failure)
    told = [f"{kind} in {count} of {len(records)} jobs" for kind, count in kinds.most_common()]
    return ", ".join(told) or "nothing was measured that does"


def _age(moment: float | None, now: float) -> str:
    if moment is None:
        return "nothing was ever measured"
    return f"last success {(now - moment) / 3600:.1f} hours ago ({time.ctime(moment)})"
