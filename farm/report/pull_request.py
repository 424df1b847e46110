"""One comment of a pull request, found again by a marker, and who accepted its regression."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from farm.errors import ConfigurationError, Problem, printable
from farm.report import github
from farm.report.github import Repository

UNCHANGED = "## Gate: pass"  # the first line of a report that changes nothing
ACCEPT = re.compile(r"/turbofarm accept[ \t]+(\S[^\r\n]*)")
LABEL = "turbofarm accept"  # and in its name, after a colon, or as its description: the reason
WRITERS = frozenset({"OWNER", "MEMBER", "COLLABORATOR"})


@dataclass(frozen=True)
class PullRequest:
    """Where a comment goes."""

    repository: Repository
    number: int

    @property
    def path(self) -> str:
        return f"{self.repository.path}/issues/{self.number}"

    @property
    def comments(self) -> str:
        return f"{self.path}/comments"


def of(environment: Mapping[str, str]) -> PullRequest:
    """Return the pull request that a workflow's variables name.

    Raises ConfigurationError with everything that is missing.
    """
    event = {"GITHUB_EVENT_PATH": "the file of a pull request's event"}
    repository = github.of(environment, "pull-requests", **event)
    return PullRequest(repository, _number(Path(environment["GITHUB_EVENT_PATH"])))


def comment(where: PullRequest, name: str, text: str) -> str:
    """Write ``text`` as the comment called ``name``; return its address.

    An earlier comment of that name is changed if the token's own user wrote it. Raises FarmError
    for what GitHub refuses.
    """
    return _write(where, _earlier(where, name), name, text)


def comment_on_change(where: PullRequest, name: str, text: str) -> str | None:
    """Write ``text`` as ``comment`` does, but not where a pass follows a pass or nothing.

    Returns None where nothing was written.
    """
    earlier = _earlier(where, name)
    before = earlier["body"].split("\n")[1:2] if earlier else [UNCHANGED]
    if before == [UNCHANGED] and text.partition("\n")[0] == UNCHANGED:
        return None
    return _write(where, earlier, name, text)


@dataclass(frozen=True)
class Acceptance:
    """Who accepted a regression of a pull request, and why."""

    author: str
    reason: str


def accepted(where: PullRequest) -> Acceptance | None:
    """Return who accepted a regression: by a comment of somebody who may write, or by a label.

    The newest comment ``/turbofarm accept REASON`` comes first. Else a label that is on the pull
    request now: ``turbofarm accept: REASON``, or ``turbofarm accept`` whose description says why.
    GitHub lets nobody set labels who has not been trusted with the repository.
    """
    newest = None
    for one in github.pages(where.repository, where.comments):
        said = ACCEPT.match(one["body"].strip())
        if said and one.get("author_association") in WRITERS:
            newest = Acceptance(one["user"]["login"], printable(said[1].strip()))
    return newest or _labelled(where)


def _labelled(where: PullRequest) -> Acceptance | None:
    for label in github.pages(where.repository, f"{where.path}/labels"):
        name, _, told = label["name"].partition(":")
        reason = told.strip() or (label.get("description") or "").strip()
        if name.strip() == LABEL and reason:
            return Acceptance(_who_labelled(where, label["name"]), printable(reason))
    return None


def _who_labelled(where: PullRequest, name: str) -> str:
    login = "somebody"
    for event in github.pages(where.repository, f"{where.path}/events"):
        if event["event"] == "labeled" and event["label"]["name"] == name and event["actor"]:
            login = event["actor"]["login"]
    return login


def _earlier(where: PullRequest, name: str) -> dict[str, Any] | None:
    """Return the comment of that name that the token's own user wrote."""
    return github.marked(where.repository, where.comments).get(github.marker(name))


def _write(where: PullRequest, earlier: dict[str, Any] | None, name: str, text: str) -> str:
    body = {"body": github.shortened(f"{github.marker(name)}\n{text}")}
    if earlier is None:
        return str(github.ask(where.repository, "POST", where.comments, body)["html_url"])
    path = f"{where.repository.path}/issues/comments/{earlier['id']}"
    return str(github.ask(where.repository, "PATCH", path, body)["html_url"])


def _number(path: Path) -> int:
    try:
        return int(json.loads(path.read_text())["pull_request"]["number"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = "names no pull request"
        remedy = "comment only in workflows that start on pull_request"
        raise ConfigurationError([Problem(str(path), "event", problem, remedy)]) from error
