"""An issue on GitHub for each regression of a night: opened once, closed when it is gone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from db.verdicts import RegressionRow
from farm.report import github
from farm.report.commit_line import SHORT
from farm.report.github import Repository
from farm.report.markdown import quoted
from farm.report.night import Report, described, summary


def settle(where: Repository, report: Report) -> Iterator[str]:
    """Open what is missing and close what is over; yield a line for each.

    A regression that is open has one issue, whoever closed it; so a night that ended before it
    wrote one makes up for it. Raises FarmError for what GitHub refuses.
    """
    earlier = github.marked(where, f"{where.path}/issues?state=all")
    for row in (*report.fresh, *report.known):
        known = earlier.get(github.marker(_name(row)))
        if row.state == "open" and known is None:
            yield f"opened {_open(where, row, report)}"
        elif row.state == "acknowledged" and known:
            told = f"Accepted by {quoted(row.author or '')}: {quoted(row.reason or '')}"
            yield from _close(where, known, told)
    for row in report.withdrawn:
        if known := earlier.get(github.marker(_name(row))):
            yield from _close(where, known, f"Gone: {row.reason}.")


def _name(row: RegressionRow) -> str:
    """Name a regression; its number may differ from database to database."""
    return f"regression of {row.branch} after {row.good[:SHORT]} up to {row.bad[:SHORT]}"


def _open(where: Repository, row: RegressionRow, report: Report) -> str:
    document = {
        "title": summary(row, report),
        "body": github.shortened(f"{github.marker(_name(row))}\n{described(row, report)}"),
    }
    return str(github.ask(where, "POST", f"{where.path}/issues", document)["html_url"])


def _close(where: Repository, known: dict[str, Any], why: str) -> Iterator[str]:
    """Say why an issue is over and close it, if it is open."""
    if known["state"] != "open":
        return
    path = f"{where.path}/issues/{known['number']}"
    github.ask(where, "POST", f"{path}/comments", {"body": github.shortened(why)})
    github.ask(where, "PATCH", path, {"state": "closed", "state_reason": "completed"})
    yield f"closed {known['html_url']}"
