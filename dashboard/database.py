"""The database handle: opened once for reading, and asked again only where something changed."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Concatenate, ParamSpec, TypeVar

from dashboard.answers import Answers
from db import queries
from db.engine import DatabaseError, Engine, open_readonly, stamp
from db.queries import Versions

VARIABLE = "TURBOFARM_DATABASE"

# Questions whose answers are kept: those of all pages of a large farm, and of some hundred records.
ANSWERS = Answers(512)
ENGINES = Answers(2)

P = ParamSpec("P")
T = TypeVar("T")

Part = Callable[..., Hashable]


def _of_build(now: Versions, build: str, *_: Any) -> Hashable:
    return now.builds.get(build)


def _of_builds(now: Versions, base: str, head: str) -> Hashable:
    return now.builds.get(base), now.builds.get(head)


# What each answer is made of; an answer that is not named here is made of everything.
PARTS: Mapping[str, Part] = {
    queries.figures.__name__: _of_build,
    queries.figures_by_host.__name__: _of_build,
    queries.build_summary.__name__: _of_build,
    queries.host_state.__name__: lambda *_: None,
    queries.commits.__name__: lambda now: now.measured,
    queries.suspicions.__name__: _of_build,
    queries.changes.__name__: _of_builds,
    queries.published.__name__: lambda now: now.published,
    queries.descriptions.__name__: lambda now: now.commits,
    queries.regressions.__name__: lambda now, *_: now.regressions,
    queries.affected.__name__: lambda now, *_: (now.regressions, now.verdicts),
    queries.gate_tallies.__name__: lambda now: now.verdicts,
    queries.verdicts.__name__: lambda now, *_: now.verdicts,
    queries.suspects.__name__: lambda now, *_: now.suspects,
    # A record and its samples are written once.
    queries.record.__name__: lambda now, number: number <= now.records,
    queries.samples.__name__: lambda now, number: number <= now.records,
    queries.earlier_record.__name__: lambda now, number: number <= now.records,
    queries.scores_by_label.__name__: lambda *_: None,
}


def ask(question: Callable[Concatenate[Any, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Return the answer to one of ``db.queries``, remembered until what it is made of changes.

    Answers are shared between sessions: they must not be changed. Raises DatabaseError.
    """
    url = location()
    written = stamp(url)
    if not written:
        raise DatabaseError(f"{url}: no such database; make it with: farm run")
    now = _versions(url, written)
    made_of: Part = PARTS.get(question.__name__, _everything)
    inode = written[2]
    asked = (question.__name__, url, args, tuple(kwargs.items()))
    part = (inode, made_of(now, *args))
    return ANSWERS.get(asked, part, lambda: question(_engine(url, inode), *args, **kwargs))


def _everything(now: Versions, *_: Any) -> Hashable:
    return (now.records, now.runs, now.verdicts, now.suspects, now.regressions, now.commits)


def location() -> str:
    """Return the database's URL or path."""
    url = os.environ.get(VARIABLE)
    if not url:
        raise DatabaseError(f"{VARIABLE} names no database; start with: farm dashboard")
    return url


def _versions(url: str, written: tuple[int, ...]) -> Versions:
    def make() -> Versions:
        return queries.versions(_engine(url, written[2]))

    return ANSWERS.get(("versions", url), written, make)


def _engine(url: str, inode: int) -> Engine:
    """Return a handle; another file at this path is opened anew."""
    return ENGINES.get(url, inode, lambda: open_readonly(url))
