"""The commits of a branch, oldest first, and their builds."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from farm.errors import FarmError
from farm.plan.builds import at_commit, git
from farm.plan.inventory import Subject
from worker.job import Build

AT_ONCE = 200  # names on one command line
LONGEST = 500  # characters of a subject: what is longer is no headline
SCHEMES = {"https", "http", "ssh", "git"}
HASH = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
#: ``git@github.com:owner/name.git``, the short form of an SSH address.
SHORT_SSH = re.compile(r"(?:[^@/\s]+@)?([^:/\s]+):(?!/)(\S+)")


@dataclass(frozen=True)
class Message:
    """What a commit says: ``authored`` in seconds since 1970, ``url`` its page if there is one."""

    name: str
    subject: str
    author: str
    authored: float
    url: str | None


@dataclass(frozen=True)
class Commit:
    """A commit and the build of the subject there."""

    name: str
    build: Build


def revisions(subject: Subject, span: str, most: int | None = None) -> list[str]:
    """Return the commits of a revision or range ``A..B``, oldest first; the ``most`` newest.

    Only first parents count, and only commits that change the subject and have one. Raises
    FarmError for what git does not know.
    """
    limit = [] if most is None else [f"--max-count={most}"]
    found = git(subject, "rev-list", "--first-parent", *limit, span, "--", subject.path)
    if found is None:
        raise FarmError(f"commits {span!r}: not in {subject.repository}; fetch them first")
    names = found.decode().split()[::-1]
    return [
        name for name in names if git(subject, "cat-file", "-e", f"{name}:{subject.path}") == b""
    ]


def resolve(subject: Subject, revision: str) -> str:
    """Return the full name of a commit; raises FarmError if there is none."""
    found = git(subject, "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    if found is None:
        raise FarmError(f"commit {revision!r}: not in {subject.repository}; fetch it first")
    return found.decode().strip()


def between(subject: Subject, good: str, bad: str) -> list[str]:
    """Return the commits after ``good`` up to ``bad``; raises FarmError if there are none."""
    first, last = resolve(subject, good), resolve(subject, bad)
    if git(subject, "merge-base", "--is-ancestor", first, last) is None:
        raise FarmError(f"commit {good!r}: no ancestor of {bad!r}; name the older one first")
    found = revisions(subject, f"{first}..{last}")
    if not found:
        raise FarmError(f"{good}..{bad}: no commit changes {subject.path}; nothing to find")
    return found


def builds(subject: Subject, names: Sequence[str], folder: Path) -> list[Commit]:
    """Unpack the subject at each commit; a commit with the bytes of the one before is left out."""
    found: list[Commit] = []
    for name in names:
        build = at_commit(subject, name, folder)
        if not found or build.hash != found[-1].build.hash:
            found.append(Commit(name, build))
    return found


def messages(subject: Subject, names: Sequence[str]) -> list[Message]:
    """Return what git knows of these commits; names that it does not know are left out."""
    page = web_page(subject)
    known = [name for name in names if HASH.fullmatch(name)]
    return [
        Message(name, text[:LONGEST], author, float(when), page and f"{page}/commit/{name}")
        for start in range(0, len(known), AT_ONCE)
        for name, when, author, text in _log(subject, known[start : start + AT_ONCE])
    ]


def _log(subject: Subject, names: Sequence[str]) -> Iterator[list[str]]:
    form = "--format=%H%x00%at%x00%an%x00%s"
    found = git(subject, "log", "--no-walk=unsorted", "--ignore-missing", form, *names, "--") or b""
    for line in found.decode(errors="replace").strip("\n").split("\n"):
        if line:
            yield [
                "".join(c if c.isprintable() else " " for c in part) for part in line.split("\0", 3)
            ]


def web_page(subject: Subject) -> str | None:
    """Return the repository's page on the web: as the inventory says, else by its remote."""
    if subject.url:
        return subject.url.rstrip("/")
    remote = (git(subject, "remote", "get-url", "origin") or b"").decode(errors="replace").strip()
    return page_of_remote(remote)


def page_of_remote(remote: str) -> str | None:
    """Return the page of a remote's address, without user and password; None for a folder."""
    short = SHORT_SSH.fullmatch(remote)
    host, path = short.groups() if short else _host_and_path(remote)
    if not host or not path.strip("/"):
        return None
    return f"https://{host}/{path.strip('/').removesuffix('.git')}"


def _host_and_path(remote: str) -> tuple[str | None, str]:
    try:
        address = urlsplit(remote)
    except ValueError:
        return None, ""
    return (address.hostname, address.path) if address.scheme in SCHEMES else (None, "")
