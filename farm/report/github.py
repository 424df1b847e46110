"""GitHub's REST API, as far as the farm writes to it: comments and issues, found by a marker.

The token comes from the environment and goes into one header; it is in no argument, message or log.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from farm.errors import ConfigurationError, FarmError, Problem

LONGEST = 65_536  # characters that GitHub takes for one text
PAGE = 100  # comments or issues that it gives at once
ACTIONS = "github-actions[bot]"  # the author where the token is a workflow's, which is no user
SECONDS = 30.0
VARIABLES = {
    "GITHUB_API_URL": "address of the API",
    "GITHUB_REPOSITORY": "owner/name",
    "GITHUB_TOKEN": "a token that may write to it",
}


@dataclass(frozen=True)
class Repository:
    """A repository, the token that may write there, and the permission that it needs."""

    api: str
    name: str
    token: str = field(repr=False)
    needs: str = "issues"

    @property
    def path(self) -> str:
        return f"/repos/{self.name}"


class RefusedError(FarmError):
    """GitHub answered, and said no."""


def of(environment: Mapping[str, str], needs: str, **more: str) -> Repository:
    """Return the repository that a workflow's variables name.

    ``more`` are further variables that must be set, each with what to give it. Raises
    ConfigurationError with everything that is missing.
    """
    wanted = VARIABLES | more
    if missing := [name for name in wanted if not environment.get(name)]:
        raise ConfigurationError(
            [Problem("environment", name, "not set", f"give it {wanted[name]}") for name in missing]
        )
    return Repository(
        environment["GITHUB_API_URL"].rstrip("/"),
        environment["GITHUB_REPOSITORY"],
        environment["GITHUB_TOKEN"],
        needs,
    )


def author(where: Repository) -> str:
    """Return the login that what the token writes has."""
    try:
        return str(ask(where, "GET", "/user")["login"])
    except RefusedError:
        return ACTIONS


def marker(name: str) -> str:
    """Return the first line of a text of the farm's, by which it is found again."""
    return f"<!-- turbofarm: {name} -->"


def marked(where: Repository, path: str) -> dict[str, dict[str, Any]]:
    """Return what the token's own user wrote with a marker there: by its first line, the oldest.

    Anybody can put a marker into a text, so what others wrote is left alone.
    """
    mine, oldest = author(where), dict[str, dict[str, Any]]()
    for one in pages(where, path):
        first = (one["body"] or "").partition("\n")[0].strip()
        if one["user"]["login"] == mine and first.startswith("<!-- turbofarm: "):
            oldest.setdefault(first, one)
    return oldest


def pages(where: Repository, path: str) -> Iterator[dict[str, Any]]:
    """Yield everything of a list that GitHub gives page by page."""
    page, joint = 1, "&" if "?" in path else "?"
    while True:
        entries = ask(where, "GET", f"{path}{joint}per_page={PAGE}&page={page}")
        yield from entries
        if len(entries) < PAGE:
            return
        page += 1


def shortened(text: str) -> str:
    """Return what GitHub takes of a text; what is cut off is said."""
    if len(text) <= LONGEST:
        return text
    note = "\n\n(Cut here: the report is longer than GitHub takes.)"
    return text[: LONGEST - len(note)] + note


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the token to another host."""

    def redirect_request(self, *_: Any) -> None:
        return None


def ask(where: Repository, method: str, path: str, document: Any = None) -> Any:
    """Ask GitHub; raises RefusedError where it says no, FarmError where it does not answer."""
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
        remedy = f"give the job 'permissions: {where.needs}: write'"
        raise RefusedError(f"{url}: {method} was answered with {error.code}; {remedy}") from error
    except (OSError, ValueError) as error:
        raise FarmError(f"{url}: no answer ({error}); look at the network") from error
