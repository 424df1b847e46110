"""What commits say of themselves: subject, author, date, and their page on the web."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Engine, select

from db import models
from db.models import Build, Job, Run


@dataclass(frozen=True)
class Description:
    """``name`` is the full hash, ``authored`` seconds since 1970, ``url`` its page if known."""

    name: str
    subject: str
    author: str
    authored: float
    url: str | None


def descriptions(engine: Engine, names: Collection[str] | None = None) -> dict[str, Description]:
    """Return what is known of these commits, of all by default, by their full hashes."""
    table = models.Commit
    query = select(table.name, table.subject, table.author, table.authored, table.url)
    if names is not None:
        query = query.where(table.name.in_(names))
    with engine.connect() as connection:
        return {row.name: Description(*row) for row in connection.execute(query)}


def undescribed(engine: Engine) -> list[str]:
    """Return the commits that this farm was asked to measure and of which nothing is known."""
    table = models.Commit
    ours = select(Job.id).join(Run, Run.id == Job.run_id)
    ours = ours.where(Job.build_hash == Build.hash, Run.origin.is_(None))
    query = (
        select(Build.commit)
        .outerjoin(table, table.name == Build.commit)
        .where(Build.commit.is_not(None), table.name.is_(None), ours.exists())
        .distinct()
    )
    with engine.connect() as connection:
        return [name for (name,) in connection.execute(query) if name]
