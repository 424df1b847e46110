"""One comment of a pull request, found again by a marker: GitHub's REST API.

The token comes from the environment and goes into one header; it is in no argument, message or log.
"""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from farm.errors import ConfigurationError, FarmError, Problem, printable

LONGEST = 65_536  # characters that GitHub takes for one comment
PAGE = 100  # comments that it gives at once
ACTIONS = "github-actions[bot]"  # the author where the token is a workflow's, which is no user
SECONDS = 30.0
UNCHANGED = "## Gate: pass"  # the first line of a report that changes nothing
ACCEPT = re.compile(r"/turbofarm accept[ \t]+(\S[^\r\n]*)")
WRITERS = frozenset({"OWNER", "MEMBER", "COLLABORATOR"})
VARIABLES = {
    "GITHUB_API_URL": "address of the API",
    "GITHUB_REPOSITORY": "owner/name",
    "GITHUB_TOKEN": "a token that may write to pull requests",
    "GITHUB_EVENT_PATH": "the file of a pull request's event",
}


@dataclass(frozen=True)
class PullRequest:
    """Where a comment goes, and the token that may put it there."""

    api: str
    repository: str
    number: int
    token: str = field(repr=False)

    @property
    def comments(self) -> str:
        return f"/repos/{self.repository}/issues/{self.number}/comments"


def of(environment: Mapping[str, str]) -> PullRequest:
    """Return the pull request that a workflow's variables name.

    Raises ConfigurationError with everything that is missing.
    """
    missing = [name for name in VARIABLES if not environment.get(name)]
    if missing:
        raise ConfigurationError(
            [
                Problem("environment", name, "not set", f"give it {VARIABLES[name]}")
                for name in missing
            ]
        )
    return PullRequest(
        environment["GITHUB_API_URL"].rstrip("/"),
        environment["GITHUB_REPOSITORY"],
        _number(Path(environment["GITHUB_EVENT_PATH"])),
        environment["GITHUB_TOKEN"],
    )


def comment(where: PullRequest, name: str, text: str) -> str:
    """Write ``text`` as the comment called ``name``; return its address.

    An earlier comment of that name is changed if the token's own user wrote it: anybody can put
    the marker into a comment. Raises FarmError for what GitHub refuses.
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
    """Return the newest comment ``/turbofarm accept REASON`` of somebody who may write here."""
    found = None
    for one in _comments(where):
        said = ACCEPT.match(one["body"].strip())
        if said and one.get("author_association") in WRITERS:
            found = Acceptance(one["user"]["login"], printable(said[1].strip()))
    return found


def _earlier(where: PullRequest, name: str) -> dict[str, Any] | None:
    """Return the comment of that name that the token's own user wrote."""
    author = _author(where)
    for one in _comments(where):
        if one["user"]["login"] == author and one["body"].startswith(_marker(name)):
            return one
    return None


def _write(where: PullRequest, earlier: dict[str, Any] | None, name: str, text: str) -> str:
    body = {"body": shortened(f"{_marker(name)}\n{text}")}
    if earlier is None:
        return str(_ask(where, "POST", where.comments, body)["html_url"])
    path = f"/repos/{where.repository}/issues/comments/{earlier['id']}"
    return str(_ask(where, "PATCH", path, body)["html_url"])


def _marker(name: str) -> str:
    return f"<!-- turbofarm: {name} -->"


def shortened(text: str) -> str:
    """Return what GitHub takes of a text; what is cut off is said."""
    if len(text) <= LONGEST:
        return text
    note = "\n\n(Cut here: the report is longer than a comment may be.)"
    return text[: LONGEST - len(note)] + note


def _number(path: Path) -> int:
    try:
        return int(json.loads(path.read_text())["pull_request"]["number"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = "names no pull request"
        remedy = "comment only in workflows that start on pull_request"
        raise ConfigurationError([Problem(str(path), "event", problem, remedy)]) from error


def _author(where: PullRequest) -> str:
    try:
        return str(_ask(where, "GET", "/user")["login"])
    except _RefusedError:
        return ACTIONS


def _comments(where: PullRequest) -> Iterator[dict[str, Any]]:
    page = 1
    while True:
        found = _ask(where, "GET", f"{where.comments}?per_page={PAGE}&page={page}")
        yield from found
        if len(found) < PAGE:
            return
        page += 1


class _RefusedError(FarmError):
    """GitHub answered, and said no."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the token to another host."""

    def redirect_request(self, *_: Any) -> None:
        return None


def _ask(where: PullRequest, method: str, path: str, document: Any = None) -> Any:
    url = where.api + path
    if not url.startswith(("https://", "http://")):
        raise FarmError(f"GITHUB_API_URL: {where.api}: no web address; give it one with https")
    request = urllib.request.Request(  # noqa: S310  checked above
        url,
        data=None if document is None else json.dumps(document).encode(),
        method=method,
        headers={
            "Authorization": f"Bearer {where.token}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
        },
    )
    opener = urllib.request.build_opener(_NoRedirect)
    try:
        with opener.open(request, timeout=SECONDS) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        remedy = "give the job 'permissions: pull-requests: write'"
        raise _RefusedError(f"{url}: {method} was answered with {error.code}; {remedy}") from error
    except (OSError, ValueError) as error:
        raise FarmError(f"{url}: no answer ({error}); look at the network") from error
