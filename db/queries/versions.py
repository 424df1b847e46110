"""What changes when something is written: pages keep an answer until what it is made of changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, Integer, func, literal_column, select

from db.models import (
    Attempt,
    Build,
    Commit,
    Job,
    Pause,
    Published,
    Record,
    Regression,
    Run,
    Suspect,
    Verdict,
)


@dataclass(frozen=True)
class Versions:
    """One value for each part of the database, another one after each change of that part.

    ``records`` is the number of the newest record, ``builds`` that of each build's own;
    ``measured`` changes with the order of builds.
    """

    records: int
    measured: tuple[object, ...]
    runs: tuple[object, ...]
    verdicts: int
    suspects: int
    regressions: tuple[object, ...]
    commits: tuple[object, ...]
    published: tuple[object, ...]
    builds: Mapping[str, int | None]


def versions(engine: Engine) -> Versions:
    """Read the versions: a few look-ups in indexes, whatever the size of the database."""
    states = select(Regression.id, Regression.state, Regression.expires, Regression.culprit)
    with engine.connect() as connection:
        runs = select(func.max(Run.started), func.max(Run.finished), func.sum(Run.wall))
        attempts = select(func.max(Attempt.leased), func.max(Attempt.ended))
        pauses = select(func.count(), func.max(Pause.since))
        commits = select(func.count(), func.max(Commit.authored))
        measured = select(func.count(Build.measured), func.sum(Build.measured))
        built = connection.execute(select(Build.hash, Build.newest))
        return Versions(
            records=_newest(connection, Record),
            measured=tuple(connection.execute(measured).one()),
            runs=(
                *connection.execute(runs).one(),
                *connection.execute(attempts).one(),
                *connection.execute(pauses).one(),
                _newest(connection, Job),
            ),
            verdicts=_newest(connection, Verdict),
            suspects=_newest(connection, Suspect),
            regressions=tuple(tuple(row) for row in connection.execute(states)),
            commits=tuple(connection.execute(commits).one()),
            published=tuple(connection.execute(select(func.count(), func.max(Published.id))).one()),
            builds={row.hash: row.newest for row in built},
        )


def _newest(connection: Connection, table: type) -> int:
    query = select(func.max(literal_column("rowid", Integer))).select_from(table)
    return connection.execute(query).scalar() or 0
