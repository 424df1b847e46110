"""Commits with their messages in the database, for reports and pages."""

from __future__ import annotations

from db import queries, store
from db.engine import Engine
from db.queries import Description
from farm.plan import commits
from farm.plan.inventory import Subject


def complete(engine: Engine, subject: Subject) -> None:
    """Store what git knows of the commits that this farm measured and that have no message yet."""
    missing = queries.undescribed(engine)
    if missing:
        messages = commits.messages(subject, missing)
        store.record_commits(engine, [Description(**vars(message)) for message in messages])
