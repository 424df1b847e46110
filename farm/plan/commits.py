"""The commits of a branch, oldest first, and their builds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from farm.errors import FarmError
from farm.plan.builds import at_commit, git
from farm.plan.inventory import Subject
from worker.job import Build


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
