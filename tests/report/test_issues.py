"""Issues of a night's regressions: opened once, closed when they are gone or accepted."""

from dataclasses import replace

import pytest

from db.verdicts import RegressionRow
from fake_measure import CELL
from farm.plan.commits import Message
from farm.report import github, issues
from farm.report.night import Report

GONE = {"state": "withdrawn", "reason": "back at the former level"}
ACCEPTED = {"state": "acknowledged", "author": "ada", "reason": "the new codec"}
LOSS = {"cell": CELL.id, "device": "M2 Pro", "metric": "generation_tps", "effect": -0.048}
ROW = RegressionRow("main", "a" * 40, "b" * 40, -0.048, (LOSS,), id=1)


def night(fresh=(), known=(), withdrawn=()):
    said = {"b" * 40: Message("b" * 40, "Pack @ada's ![x](http://y)", "eve", 0.0, None)}
    return Report(
        "main", "b" * 40, [], fresh, known, withdrawn, 0.0, silent=False, cells={CELL.id: CELL},
        said=said,
    )  # fmt: skip


@pytest.fixture
def settle(serve):
    """Settle a night's issues on one fake GitHub; return its lines and issues."""
    api = serve()
    where = github.Repository(api.address, "somebody/something", "the-token")

    def one(**rows):
        return list(issues.settle(where, night(**rows))), api

    return one


def test_a_new_regression_opens_one_issue_however_often_a_night_is_told(settle):
    settle(fresh=[ROW])
    settle(fresh=[ROW])
    lines, api = settle(known=[ROW])
    assert lines == []
    (issue,) = api.issues
    assert (
        issue["title"] == "Since bbbbbbbbbb: generation_tps of decode@512 turbo on M2 Pro: -4.80 %"
    )
    assert "farm bisect aaaaaaaaaa bbbbbbbbbb" in issue["body"]


def test_what_the_author_of_a_commit_wrote_is_no_markup_and_calls_nobody(settle):
    _, api = settle(fresh=[ROW])
    assert "`Pack @ada's ![x](http://y)`" in api.issues[0]["body"]


def test_a_night_that_could_not_write_is_made_up_for_by_the_next(settle):
    lines, api = settle(known=[ROW])
    assert lines == [f"opened {api.issues[0]['html_url']}"]


@pytest.mark.parametrize(
    ("changes", "where", "why"),
    [(GONE, "withdrawn", "Gone: back at the former level."),
     (ACCEPTED, "known", "Accepted by `ada`: `the new codec`")],
)  # fmt: skip
def test_what_is_over_is_said_and_closed_once(settle, changes, where, why):
    settle(fresh=[ROW])
    over = {where: [replace(ROW, **changes)]}
    lines, api = settle(**over)
    assert lines == [f"closed {api.issues[0]['html_url']}"]
    assert api.issues[0]["state"] == "closed"
    assert settle(**over)[0] == []
    (comments,) = [held for path, held in api.lists.items() if path.endswith("/100/comments")]
    assert [one["body"] for one in comments] == [why]


def test_an_issue_that_somebody_closed_is_not_opened_again(settle):
    _, api = settle(fresh=[ROW])
    api.issues[0]["state"] = "closed"
    assert settle(known=[ROW])[0] == []


def test_a_stranger_s_marker_keeps_no_issue_away(settle):
    _, api = settle(fresh=[ROW])
    api.issues[0]["user"] = {"login": "eve"}
    assert len(settle(known=[ROW])[0]) == 1


def test_two_regressions_have_two_issues(settle):
    other = replace(ROW, bad="c" * 40)
    assert len(settle(fresh=[ROW, other])[0]) == 2
